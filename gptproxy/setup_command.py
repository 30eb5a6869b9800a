"""
``gptproxy setup``: asks for what a gateway cannot do without, checks it online, and writes the configuration.

May import the config and HTTP rooms, and the modules that put them together.
"""

from __future__ import annotations

import getpass
import json
import os
import sys
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import cast

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.task import react

from gptproxy.config import DEFAULT_PATH, ConfigurationError, Settings, settings_from
from gptproxy.daemon import agent_for, own_calls
from gptproxy.http import InvalidURL, IReactor, NoAnswer, OwnCalls
from gptproxy.setup_files import Upstream, configuration_text, replace_file
from gptproxy.setup_units import write_units

__all__ = ["Dialogue", "set_up", "write_units"]

ANSWER_LIMIT_BYTES = 4_194_304
"""Of a list of models; Azure's has some hundred long entries."""

CHECK_SECONDS = 20.0  # retries included; somebody sits in front of it

AZURE_API_VERSION = "2024-10-21"  # Azure's newest settled one; every resource knows it

INTERRUPTED = 130  # the shell's status for Ctrl-C


class _GivenUp(Exception):
    """Nothing is written; the text says why."""


@frozen
class Dialogue:
    """
    Whoever sits at the terminal.

    :param ask: shows a question and gives the answer.
    :param ask_secret: the same, without showing the answer.
    :param tell: shows a line.
    """

    ask: Callable[[str], str]
    ask_secret: Callable[[str], str]
    tell: Callable[[str], None]

    @classmethod
    def at_the_terminal(cls) -> Dialogue:
        """:return: standard input and output; a secret that comes by a pipe is read like any other line."""

        def tell(line: str) -> None:
            sys.stdout.write(line + "\n")
            sys.stdout.flush()

        return cls(input, getpass.getpass if sys.stdin.isatty() else input, tell)

    def choice(self, question: str, answers: Mapping[str, str]) -> str:
        """
        :param question: what is asked.
        :param answers: what may be answered, and what it means.
        :return: one of them.
        """
        self.tell(question)
        for key, meaning in answers.items():
            self.tell(f"  {key}  {meaning}")
        while True:
            answer = self.ask("> ").strip()
            if answer in answers:
                return answer
            self.tell(f"One of {', '.join(answers)}, please.")

    def yes(self, question: str) -> bool:
        """
        :param question: what is asked.
        :return: whether it was answered by yes; nothing is no.
        """
        return self.ask(f"{question} [y/N] ").strip().lower() in ("y", "yes")


def set_up(path: Path | None, dialogue: Dialogue | None = None) -> int:
    """
    :param path: the configuration; None: the daemon's own place.
    :param dialogue: who answers; None: whoever sits at the terminal.
    :return: the exit status.
    """
    path = path or DEFAULT_PATH
    talk = dialogue or Dialogue.at_the_terminal()
    try:
        before = _before(path)
    except _GivenUp as why:
        return _fail(str(why))
    status = INTERRUPTED

    async def run(reactor: IReactor) -> None:
        nonlocal status
        try:
            status = await _conversation(reactor, path, before, talk)
        except _GivenUp as why:
            status = _fail(str(why))
        except EOFError:
            sys.stderr.write("\ngptproxy: nothing was written\n")

    def start(reactor: object) -> Deferred[None]:
        return Deferred.fromCoroutine(run(cast(IReactor, reactor)))

    try:
        react(start, ())
    except SystemExit as end:
        if end.code:
            return 1
    return status


def _fail(message: str) -> int:
    sys.stderr.write(f"gptproxy: {message}\n")
    return 1


def _before(path: Path) -> str:
    """:return: the configuration as it is."""
    try:
        text = path.read_text("utf-8-sig")
        found = tomllib.loads(text)
    except FileNotFoundError:
        if not path.parent.is_dir():
            raise _GivenUp(f"{path.parent} is not there: make it first") from None
        text, found = "", {}
    except OSError as error:
        raise _GivenUp(f"{path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        raise _GivenUp(f"{path} is not TOML: mend it first") from None
    there = [f"[{key}]" for key in ("gitlab", "upstream") if key in found]
    if there:
        raise _GivenUp(f"{path} has {' and '.join(there)} already: change it by an editor")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise _GivenUp(f"{path} cannot be written: run this as root")
    return text


async def _conversation(reactor: IReactor, path: Path, before: str, talk: Dialogue) -> int:
    settings = settings_from({}, source=str(path), directory=path.parent.absolute(), environ={})
    agent = agent_for(settings, reactor)
    calls = own_calls(agent, reactor)
    try:
        gitlab = await _gitlab(talk, calls, path)
        upstream = await _upstream(talk, calls, path)
    finally:
        agent.close()
    text = configuration_text(before, gitlab, upstream)
    try:
        settings = settings_from(
            tomllib.loads(text),
            source=str(path),
            directory=path.parent.absolute(),
            environ=os.environ,
        )
    except ConfigurationError as error:
        raise _GivenUp(f"nothing was written: {error}") from None
    try:
        replace_file(path, text, 0o640)
    except OSError as error:
        raise _GivenUp(f"{path} cannot be written: {error.strerror}") from None
    talk.tell(f"\nWrote {path}. Now: systemctl restart gptproxy\nThen, with a GitLab token:\n")
    talk.tell(_first_curl(settings, upstream))
    return 0


async def _gitlab(talk: Dialogue, calls: OwnCalls, path: Path) -> str:
    while True:
        url = talk.ask("GitLab's address, for example https://git.example.com: ").strip()
        if "://" not in url:
            url = f"https://{url}"
        try:
            checked = _checked({"gitlab": {"url": url}}, path).gitlab
        except ConfigurationError as error:
            talk.tell(str(error))
            continue
        assert checked is not None  # noqa: S101 - it was asked for
        trouble = await _ask(calls, f"{checked.url}/api/v4/version", {}, _as_gitlab)
        if _settled(talk, "GitLab answers.", trouble):
            return checked.url


async def _upstream(talk: Dialogue, calls: OwnCalls, path: Path) -> Upstream:
    while True:
        kind = talk.choice(
            "Where do answers come from?",
            {
                "1": "Azure OpenAI",
                "2": "OpenAI",
                "3": "another server that speaks OpenAI's API (vLLM, Ollama, LocalAI)",
            },
        )
        upstream = _asked_upstream(talk, kind)
        document = {"upstream": [upstream.document()], "gitlab": {"url": "https://localhost"}}
        try:
            (checked,) = _checked(document, path).upstreams
        except ConfigurationError as error:
            talk.tell(str(error))
            continue
        if upstream.kind == "azure":
            address = f"{checked.url}/openai/models?api-version={AZURE_API_VERSION}"
            fields = {"api-key": upstream.api_key}
        else:
            address = f"{checked.url}/models"
            fields = {"authorization": f"Bearer {upstream.api_key}"} if upstream.api_key else {}
        trouble = await _ask(calls, address, fields, _as_upstream)
        if _settled(talk, "The upstream answers, and takes the key.", trouble):
            return upstream


def _asked_upstream(talk: Dialogue, kind: str) -> Upstream:
    where: dict[str, str] = {}
    if kind == "1":
        place = talk.ask("The resource's name (gpt1 in https://gpt1.openai.azure.com): ").strip()
        where["url" if "/" in place else "resource"] = place
    elif kind == "3":
        where["url"] = talk.ask(
            "Its address, for example http://vllm.example.com:8000/v1: "
        ).strip()
    empty = " (nothing: it needs none)" if kind == "3" else ""
    key = talk.ask_secret(f"Its API key{empty}; it is not shown: ").strip()
    names: dict[str, str] = {}
    if kind == "1":
        talk.tell("Its deployments, one a line: MODEL, or MODEL=DEPLOYMENT. An empty line ends.")
        while line := talk.ask("> ").strip():
            model, _, own = (part.strip() for part in line.partition("="))
            names[model] = own or model
    return Upstream("primary", "azure" if kind == "1" else "openai", where, key, names)


def _checked(document: Mapping[str, object], path: Path) -> Settings:
    return settings_from(document, source="this", directory=path.parent.absolute(), environ={})


async def _ask(
    calls: OwnCalls,
    url: str,
    fields: Mapping[str, str],
    judge: Callable[[int, object], str],
) -> str:
    """:return: what is wrong with an address; "" where nothing is."""
    try:
        answer = await calls.ask(
            "GET", url, fields, limit_bytes=ANSWER_LIMIT_BYTES, total_seconds=CHECK_SECONDS
        )
    except NoAnswer as none:
        return f"no answer from {url}: {none.cause}"
    except InvalidURL:
        return f"{url} is no address"
    try:
        body: object = json.loads(answer.body)
    except ValueError:
        body = None
    trouble = judge(answer.status, body)
    return f"{url} {trouble}" if trouble else ""


def _as_gitlab(status: int, body: object) -> str:
    # Without a token GitLab says 401 and nothing more, as JSON; a login page in front of it says HTML.
    if isinstance(body, dict) and (status == 401 or (status == 200 and "version" in body)):
        return ""
    return f"answers {status}, and not as GitLab does"


def _as_upstream(status: int, body: object) -> str:
    if status == 200 and isinstance(body, dict):
        return ""
    if status in (401, 403):
        return f"answers {status}: it does not take the key"
    return f"answers {status}, and not with a list of models"


def _settled(talk: Dialogue, fine: str, trouble: str) -> bool:
    if not trouble:
        talk.tell(fine)
        return True
    talk.tell(f"It could not be checked: {trouble}.")
    return talk.yes("Write it all the same?")


def _first_curl(settings: Settings, upstream: Upstream) -> str:
    model = next(iter(upstream.deployments), "gpt-4o" if not upstream.where else "MODEL")
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": "Hello"}]})
    return (
        f"curl --cacert {settings.tls.certificate} https://localhost/v1/chat/completions \\\n"
        "  -H \"Authorization: Bearer $GITLAB_TOKEN\" -H 'Content-Type: application/json' \\\n"
        f"  -d '{body}'"
    )
