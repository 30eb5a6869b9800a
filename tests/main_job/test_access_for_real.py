"""Who may come in, asked of the daemon as a process: id_tokens, invalid tokens without end, rules, others' sound."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from urllib.parse import quote
from urllib.request import Request, urlopen

import pytest

from .processes import Daemon, Sandbox, free_port, running_daemon, running_sandbox, until

AUDIENCE = "https://gpt.example.com"
USER_TOKEN = "sk-canary-Zq8Lm2Xv7Rt5"
ALICE, BOB, NARROW, BLOCKED = (
    f"glpat-sandbox-{name}" for name in ("alice", "bob", "narrow", "blocked")
)
CONFIGURATION = """\
[gitlab]
url = "{gitlab}"
audience = "https://gpt.example.com"
service_token = "glpat-sandbox-service"
cache_seconds = {cache_seconds}
{rules}

[access]
{access}

[reverse_proxy]
addresses = ["127.0.0.1"]
protocol = "X-Forwarded-For"

[[upstream]]
name = "openai"
kind = "openai"
url = "{openai}"
api_key = "sk-sandbox-openai"
[upstream.deployments]
"gpt-4o" = "gpt-4o"
"house-model" = "gpt-4o-mini"

[[user_token]]
user_id = "ann"
token = "{user_token}"

[admin]
listen = "tcp:{admin}:interface=127.0.0.1"
"""
ENGINEERING = """
[[gitlab.allow]]
group = "engineering"
min_access_level = "developer"
models = ["gpt-4o"]
"""


AWAY = {"role": "gitlab", "fault": "status", "status": 502, "body": {"x": "y"}, "times": None}


class Door:
    """A running daemon, asked by hand."""

    def __init__(self, daemon: Daemon, admin: int) -> None:
        self.daemon = daemon
        self._admin = admin
        self.sent: set[str] = set()

    def ask(
        self,
        token: str,
        path: str = "/v1/models",
        body: object = None,
        *,
        address: str = "192.0.2.1",
        name: str = "authorization",
        also: dict[str, str] | None = None,
    ) -> tuple[int, str | None, dict[str, str]]:
        """:return: status, the error's code, and the header fields."""
        self.sent |= {token} - {""}
        scheme = "Bearer " if name.startswith("auth") else ""
        headers = {name: scheme + token, "x-forwarded-for": address, **(also or {})}
        context = ssl.create_default_context(cafile=str(self.daemon.certificate))
        connection = http.client.HTTPSConnection("127.0.0.1", self.daemon.port, context=context)
        try:
            if body is None:
                connection.request("GET", path, headers=headers)
            else:
                headers["content-type"] = "application/json"
                connection.request("POST", path, json.dumps(body), headers)
            answer = connection.getresponse()
            self.text = answer.read().decode()
        finally:
            connection.close()
        content = json.loads(self.text)
        code = content.get("error", {}).get("code") if answer.status >= 400 else None
        return answer.status, code, {key.lower(): value for key, value in answer.getheaders()}

    def chat(self, token: str, model: str = "gpt-4o", **more: object) -> tuple[int, str | None]:
        """:return: status and code of a chat."""
        body = {"model": model, "messages": [{"role": "user", "content": "Otters?"}], **more}
        return self.ask(token, "/v1/chat/completions", body)[:2]

    def written(self) -> str:
        """:return: all that the process shows, and has written at its end."""
        pages = []
        for page in ("metrics", "status"):
            with urlopen(f"http://127.0.0.1:{self._admin}/{page}") as answer:
                pages.append(answer.read().decode())
        self.daemon.process.terminate()
        self.daemon.process.wait()
        return self.daemon.log() + "".join(pages)


Start = Callable[..., Door]
StartAt = Callable[..., Door]


@pytest.fixture
def start_at(folder: Path, tmp_path: Path) -> Iterator[StartAt]:
    """:return: starts a daemon; at the end nothing of what it was sent is in what it has written."""
    for name in ("cert.pem", "key.pem"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    doors: list[Door] = []
    with ExitStack() as running:

        def started(
            sandbox: Sandbox, *, rules: str = "", access: str = "", cache_seconds: float = 60.0
        ) -> Door:
            admin = free_port()
            text = CONFIGURATION.format(
                **sandbox.addresses,
                rules=rules,
                access=access,
                cache_seconds=cache_seconds,
                admin=admin,
                user_token=USER_TOKEN,
            )
            (tmp_path / "gptproxy.toml").write_text(text)
            daemon = running.enter_context(running_daemon(tmp_path, "--config", "gptproxy.toml"))
            doors.append(Door(daemon, admin))
            until(lambda: _answers(admin))
            return doors[-1]

        yield started
        for door in doors:
            written = door.written()
            assert 'gptproxy_refusals_total{code="' in written
            for secret in (*door.sent, "sk-sandbox-openai", "glpat-sandbox-service"):
                assert secret not in written, secret
                if len(secret) > 100:
                    assert secret[-100:-20] not in written
                    assert secret[:80] not in written


@pytest.fixture
def start(start_at: StartAt, sandbox: Sandbox) -> Start:
    """:return: the same in front of the stand-ins that all tests share."""
    return partial(start_at, sandbox)


def _answers(port: int) -> bool:
    try:
        with urlopen(f"http://127.0.0.1:{port}/healthz") as answer:
            return answer.status == 200
    except OSError:
        return False


def id_token(sandbox: Sandbox, host: str = "", **query: object) -> str:
    """:return: a token as GitLab makes it for a job; with a host, as another GitLab that has the same key would."""
    gitlab = sandbox.addresses["gitlab"]
    asked = "&".join(f"{name}={quote(str(value))}" for name, value in query.items())
    headers = {"host": host} if host else {}
    with urlopen(Request(f"{gitlab}/-/sandbox/id_token?{asked}", headers=headers)) as answer:
        return json.loads(answer.read())["id_token"]


def gitlab_calls(sandbox: Sandbox) -> list[str]:
    """:return: what the daemon asked of GitLab, the oldest first."""
    paths = [str(seen["target"]).partition("?")[0] for seen in sandbox.requests("gitlab")]
    return [path for path in paths if not path.startswith(("/-/sandbox", "/sandbox"))]


def part(text: str, number: int) -> dict[str, object]:
    """:return: what stands in a token's part."""
    piece = text.split(".")[number]
    return json.loads(base64.urlsafe_b64decode(piece + "=" * (-len(piece) % 4)))


def as_part(content: object) -> str:
    """:return: the same as a token's part."""
    return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()


def test_id_tokens(start: Start, sandbox: Sandbox) -> None:
    """The signature, who made it, for whom, from when and until when: each alone keeps a token out, and GitLab is asked
    for its keys only."""
    door = start()
    good = id_token(sandbox, aud=AUDIENCE)
    head, claims, signature = good.split(".")
    assert door.ask(good)[0] == 200
    others = part(good, 1) | {"user_id": "8", "user_login": "service"}
    for token, says in (
        (id_token(sandbox, aud="https://other.example.com"), "meant for somebody else"),
        (id_token(sandbox, aud=AUDIENCE + "/"), "meant for somebody else"),
        (id_token(sandbox, host="git.evil.example", aud=AUDIENCE), "not one that your GitLab"),
        (id_token(sandbox, aud=AUDIENCE, age=3600 + 60), "has expired"),
        (id_token(sandbox, aud=AUDIENCE, age=-600), "not valid yet"),
        (f"{head}.{as_part(others)}.{signature}", "not one that your GitLab"),
        (f"{head}.{claims}.{signature[:-8]}AAAAAAAA", "not one that your GitLab"),
        (f"{as_part({'alg': 'none'})}.{claims}.x", "not one that your GitLab"),
        (
            f"{as_part({'alg': 'HS256', 'kid': 'sandbox-1'})}.{claims}.{signature}",
            "not one that your GitLab",
        ),
        (
            f"{as_part({'alg': 'RS256', 'kid': 'other'})}.{claims}.{signature}",
            "not one that your GitLab",
        ),
    ):
        status, code, fields = door.ask(token)
        assert (status, code, fields["www-authenticate"]) == (401, "invalid_api_key", "Bearer")
        assert says in door.text, token
    assert gitlab_calls(sandbox) == ["/oauth/discovery/keys"]


def test_invalid_tokens_without_end(start: Start, sandbox: Sandbox) -> None:
    """Thirty from one address are asked about, no more; nobody else is in their way, and the known are welcome."""
    door = start()
    assert door.ask(ALICE)[0] == 200
    for number in range(30):
        assert door.ask(f"glpat-guess-{number}")[:2] == (401, "invalid_api_key")
    asked = len(gitlab_calls(sandbox))
    for number in range(10):
        status, code, fields = door.ask(f"glpat-guess-more-{number}")
        assert (status, code) == (429, "too_many_invalid_tokens")
        assert 1 <= int(fields["retry-after"]) <= 6
    assert len(gitlab_calls(sandbox)) == asked
    assert door.ask(ALICE)[0] == door.ask(USER_TOKEN)[0] == 200
    assert door.ask("glpat-guess-0")[:2] == (401, "invalid_api_key"), "known to be invalid"
    assert len(gitlab_calls(sandbox)) == asked
    assert door.ask("glpat-guess-elsewhere", address="192.0.2.2")[0] == 401
    assert len(gitlab_calls(sandbox)) > asked


def test_every_way_to_be_refused(start: Start, sandbox: Sandbox) -> None:
    """By its status and code; the fixture looks that no word of a credential is written of any."""
    door = start(rules=ENGINEERING)
    two = {"api-key": "sk-canary-another-7Yt"}
    door.sent.add(two["api-key"])
    chat = "/v1/chat/completions"
    met = {
        "none": door.ask("", name="x-nothing")[:2],
        "unknown": door.ask("glpat-unknown")[:2],
        "malformed": door.ask("malformed canary-8Yt")[:2],
        "never a key": door.ask("gldt-deploy-canary")[:2],
        "an Azure key": door.ask("gpt1:gpt-4|d:azure-canary-key")[:2],
        "revoked": door.ask("glpat-sandbox-revoked")[:2],
        "expired": door.ask("glpat-sandbox-expired")[:2],
        "job token": door.ask("glcbt-unknown", name="job-token")[:2],
        "two": door.ask(ALICE, also=two)[:2],
        "blocked": door.ask(BLOCKED)[:2],
        "no member": door.ask(BOB)[:2],
        "narrow": door.ask(NARROW)[:2],
        "a bot": door.ask("glpat-sandbox-bot")[:2],
        "a job elsewhere": door.ask("glcbt-sandbox-notes", name="job-token")[:2],
        "a model": door.chat(ALICE, "house-model"),
        "an unknown model": door.chat(ALICE, "no-such-model"),
        "a batch": door.ask(ALICE, "/v1/batches", {"input_file_id": "file-1"})[:2],
        "an object": door.ask(USER_TOKEN, "/v1/files/file-1")[:2],
        "the organisation": door.ask(USER_TOKEN, "/v1/organization/users")[:2],
        "a saved prompt": door.ask(
            USER_TOKEN, "/v1/responses", {"model": "gpt-4o", "prompt": {"id": "pmpt_1"}}
        )[:2],
        "nobody's sound": door.ask(
            USER_TOKEN, chat, {"model": "gpt-4o", "messages": [{"audio": {"id": "a"}}]}
        )[:2],
    }
    invalid, denied = (401, "invalid_api_key"), (403, "access_denied")
    assert met == {
        **dict.fromkeys(
            ("none", "unknown", "malformed", "never a key", "an Azure key", "revoked", "expired"),
            invalid,
        ),
        "job token": invalid,
        "two": (400, None),
        **dict.fromkeys(("blocked", "no member", "narrow", "a bot", "a job elsewhere"), denied),
        **dict.fromkeys(("a model", "an unknown model", "a batch"), (403, "model_not_allowed")),
        "an object": (404, None),
        "the organisation": denied,
        "a saved prompt": denied,
        "nobody's sound": (404, None),
    }
    assert door.ask(ALICE)[0] == 200
    assert [each["id"] for each in json.loads(door.text)["data"]] == ["gpt-4o"]
    # GitLab does not answer: a stranger is no wrong token.
    sandbox.faults(AWAY)
    status, code, fields = door.ask("glpat-stranger")
    assert (status, code) == (503, "gitlab_unavailable")
    assert int(fields["retry-after"]) >= 5


def test_a_revoked_token(start: Start, sandbox: Sandbox) -> None:
    """Is refused when its verdict is over, though it was known, and though GitLab stops answering afterwards."""
    door = start(cache_seconds=0.5)
    assert door.ask(ALICE)[0] == 200
    revoked = {"error": "invalid_token", "error_description": "Token was revoked."}
    sandbox.faults({**AWAY, "status": 401, "body": revoked})
    until(lambda: door.ask(ALICE)[:2] == (401, "invalid_api_key"))
    sandbox.reset()
    sandbox.faults(AWAY)
    assert door.ask(ALICE)[:2] == (401, "invalid_api_key"), "a refusal wins over grace"


def test_what_is_spoken(start: Start, sandbox: Sandbox) -> None:
    """Is for whom it was said to; another's id is a 404, as one that there is not."""
    door = start()
    said = {"id": "audio_0123456789abcdef", "data": "UklG" * 100_000, "expires_at": 1}
    answer = {"id": "chatcmpl-1", "choices": [{"message": {"role": "assistant", "audio": said}}]}
    sound = {"modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "wav"}}
    sandbox.faults({"role": "openai", "fault": "status", "status": 200, "body": answer})
    assert door.chat(ALICE, **sound) == (200, None)
    assert json.loads(door.text) == answer
    sandbox.reset()
    asked = [{"role": "assistant", "audio": {"id": said["id"]}}, {"role": "user", "content": "?"}]
    assert door.chat(ALICE, messages=asked) == (200, None)
    for token in (BOB, USER_TOKEN):
        assert door.chat(token, messages=asked) == (404, None)
    (seen,) = sandbox.requests("openai")
    assert str(seen["target"]).endswith("/chat/completions")


def test_saved_prompts(start: Start, sandbox: Sandbox) -> None:
    """Those that the configuration names are for all."""
    door = start(access='prompts = ["pmpt_house"]')
    for name, status in (("pmpt_house", 200), ("pmpt_other", 403)):
        body = {"model": "gpt-4o", "input": "Otters?", "prompt": {"id": name}}
        assert door.ask(ALICE, "/v1/responses", body)[0] == status
    assert len(sandbox.requests("openai")) == 1


def test_gitlab_stopped_under_load(start_at: StartAt) -> None:
    """None of the known is lost though each call asks anew, and no stranger is let in or told that they are wrong."""
    known = [ALICE, BOB, "glpat-sandbox-service", "5a" * 32, "glcbt-sandbox-alice"]
    with running_sandbox() as sandbox:
        door = start_at(sandbox, cache_seconds=0.001)
        known.append(id_token(sandbox, aud=AUDIENCE))
        for token in known:
            assert door.ask(token)[0] == 200, token
        sandbox.kill()

        def call(number: int) -> tuple[bool, int]:
            is_known = number % 4 != 0
            token = known[number % len(known)] if is_known else f"glpat-stranger-{number}"
            return is_known, door.ask(token, address=f"198.51.100.{number % 250}")[0]

        with ThreadPoolExecutor(16) as pool:
            met = Counter(pool.map(call, range(200)))
        assert met == {(True, 200): 150, (False, 503): 50}
