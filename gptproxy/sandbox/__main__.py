"""``python -m gptproxy.sandbox``: the stand-ins as one process.

Prints one line of JSON with the addresses when all of them listen, and serves until SIGTERM, or
until its standard input ends where that is asked for.

May import: Twisted, and the modules of this room.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import cast

from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError, ReactorNotRunning
from twisted.internet.interfaces import (
    IReactorCore,
    IReactorFDSet,
    IReactorFromThreads,
    IReadDescriptor,
)
from twisted.logger import (
    FilteringLogObserver,
    LogLevel,
    LogLevelFilterPredicate,
    globalLogBeginner,
    textFileLogObserver,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from gptproxy.sandbox.faults import ROLES
from gptproxy.sandbox.server import Listeners, Sandbox, SandboxReactor, listen

__all__ = ["EndOfInput", "main"]


@implementer(IReadDescriptor)
class EndOfInput:
    """Watches a file descriptor and tells once when it has ended; what it says is ignored.

    :param descriptor: open for reading.
    :param ended: called at the end.
    """

    def __init__(self, descriptor: int, ended: Callable[[], None]) -> None:
        self._descriptor = descriptor
        self._ended: Callable[[], None] | None = ended

    def fileno(self) -> int:
        """:return: the descriptor."""
        return self._descriptor

    def doRead(self) -> None:
        """There are bytes, or the end."""
        if not os.read(self._descriptor, 65536):
            self.connectionLost(None)

    def connectionLost(self, reason: Failure | None) -> None:
        """The other side is gone."""
        ended, self._ended = self._ended, None
        if ended is not None:
            ended()

    def logPrefix(self) -> str:
        """:return: what this is called in a log."""
        return "standard input"


class _Reactor(SandboxReactor, IReactorFDSet, IReactorCore, IReactorFromThreads):
    """What the process needs of a reactor."""


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m gptproxy.sandbox",
        description="Stand-ins for OpenAI, Azure OpenAI and GitLab on this machine.",
    )
    for role in ROLES:
        name = role.replace("_", "-")
        parser.add_argument(
            f"--{name}", type=int, default=0, metavar="PORT", help="0, the default, is any free"
        )
    parser.add_argument("--interface", default="127.0.0.1", metavar="ADDRESS")
    parser.add_argument(
        "--until-stdin-closes",
        action="store_true",
        help="end with standard input, so that a parent that dies takes the sandbox along",
    )
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """
    :param arguments: of the command line; None takes the process's own.
    :return: the exit status: 0 after serving, 1 where a port cannot be had.
    """
    options = _options(arguments)
    from twisted.internet import reactor as installed

    reactor = cast(_Reactor, installed)  # Twisted's module has no type of its own

    severe = LogLevelFilterPredicate(LogLevel.warn)
    observer = FilteringLogObserver(textFileLogObserver(sys.stderr), [severe])
    globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False)
    status = 0

    def up(listeners: Listeners) -> None:
        print(json.dumps(dict(listeners.addresses)), flush=True)

    def down(failure: Failure) -> None:
        nonlocal status
        status = 1
        if isinstance(failure.value, CannotListenError):
            print(f"gptproxy.sandbox: {failure.value}", file=sys.stderr)
        else:
            print(failure.getTraceback(), file=sys.stderr)

    def stop(_: object) -> None:
        if status and reactor.running:
            reactor.stop()

    def start() -> None:
        ports = {role: getattr(options, role) for role in ROLES}
        coroutine = listen(Sandbox(reactor), reactor, ports, options.interface)
        started = Deferred.fromCoroutine(coroutine)
        started.addCallbacks(up, down).addBoth(stop)

    def end() -> None:
        # A signal may have stopped it already, or have it on its way there: a reactor is stopped once.
        with suppress(ReactorNotRunning):
            reactor.stop()

    if options.until_stdin_closes:
        reactor.addReader(EndOfInput(sys.stdin.fileno(), lambda: reactor.callFromThread(end)))
    reactor.callWhenRunning(start)
    reactor.run()
    return status


if __name__ == "__main__":
    sys.exit(main())
