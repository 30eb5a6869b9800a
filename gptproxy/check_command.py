"""
``gptproxy check``: will it run? Says everything that is wrong, not the first thing alone.

May import the check and config rooms, and the modules that put calls together.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

from twisted.internet.defer import Deferred
from twisted.internet.task import react
from twisted.internet.threads import deferToThreadPool

from gptproxy.check import (
    Finding,
    Level,
    check_certificate,
    check_documents,
    check_files,
    check_objects,
    check_online,
    check_ports,
)
from gptproxy.config import ConfigurationError, Settings, load_settings
from gptproxy.daemon import agent_for, own_calls
from gptproxy.http import IReactor
from gptproxy.upstream import EntraTokens, read_assertion

__all__ = ["check_it"]


def check_it(config: Path | None, *, online: bool, ports: Sequence[str] = ()) -> int:
    """
    :param config: the configuration file; None: as the daemon looks for it.
    :param online: ask the upstreams and GitLab, too. Nothing that is asked is billed.
    :param ports: endpoint strings that the daemon will be given.
    :return: the exit status: 1 where there is an error; warnings are none.
    """
    try:
        settings = load_settings(config, environ=os.environ, working_directory=Path.cwd())
    except ConfigurationError as error:
        return _told(
            [
                Finding(
                    Level.ERROR,
                    ": ".join(part for part in (problem.source, problem.key) if part),
                    problem.message,
                )
                for problem in error.problems
            ]
        )
    findings = [Finding(Level.GOOD, settings.source, "is understood")]
    findings += _offline(settings, ports)
    if online:
        findings += _online(settings)
    return _told(findings)


def _offline(settings: Settings, ports: Sequence[str]) -> list[Finding]:
    environ_secrets = frozenset(os.environ.values())
    listen = settings.admin.listen
    listening = [*ports, *([] if listen is None else [listen])]
    looks: list[tuple[str, Callable[[], list[Finding]]]] = [
        ("files", lambda: check_files(settings, environ_secrets)),
        (
            "certificate",
            lambda: check_certificate(settings.tls, settings.source, datetime.now(UTC)),
        ),
        ("documents", lambda: check_documents(settings)),
        ("stored objects", lambda: check_objects(settings)),
        ("ports", lambda: check_ports(listening)),
    ]
    return [finding for name, look in looks for finding in _looked(name, look)]


def _looked(name: str, look: Callable[[], list[Finding]]) -> list[Finding]:
    """A look that fails is a finding too: it must not hide what the others found."""
    try:
        return look()
    except Exception as error:  # noqa: BLE001 - see above
        message = f"cannot be looked at: {type(error).__name__}"
        return [Finding(Level.ERROR, name, message)]


def _online(settings: Settings) -> list[Finding]:
    findings = [Finding(Level.ERROR, "online", "interrupted")]

    async def ask(reactor: IReactor) -> None:
        agent = agent_for(settings, reactor)
        calls = own_calls(agent, reactor)
        tokens = EntraTokens(
            calls,
            reactor,
            lambda path: deferToThreadPool(reactor, reactor.getThreadPool(), read_assertion, path),
        )
        try:
            findings[:] = await check_online(settings, calls, tokens)
        finally:
            agent.close()

    def start(reactor: object) -> Deferred[None]:
        return Deferred.fromCoroutine(ask(cast(IReactor, reactor)))

    try:
        react(start, ())
    except SystemExit as end:
        if end.code:
            return [Finding(Level.ERROR, "online", "cannot be asked")]
    return findings


def _told(findings: Sequence[Finding]) -> int:
    """:return: the exit status."""
    sys.stdout.writelines(f"{finding}\n" for finding in findings)
    counts = [sum(1 for one in findings if one.level is level) for level in Level]
    errors, warnings = counts[Level.ERROR], counts[Level.WARNING]
    sys.stdout.write(f"{_counted(errors, 'error')}, {_counted(warnings, 'warning')}\n")
    return 1 if errors else 0


def _counted(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
