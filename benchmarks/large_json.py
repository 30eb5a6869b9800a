"""
How long a large chat keeps the reactor from everybody else: read in turns, beside one call of the parser.

Run: ``python -m benchmarks.large_json [--mebibytes 58]``. A call repeats every millisecond as everybody else; the
longest time that it is late is given, and the whole time, for several kinds of body. The figures of the parser alone
stand beside them, in the same run.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import orjson
from twisted.internet.defer import Deferred
from twisted.internet.task import react

from gptproxy.api import Turns, read_json_call
from gptproxy.http import IReactor

_BEAT_S = 0.001
_MIB = 1 << 20


def bodies(size: int) -> dict[str, bytes]:
    """:return: chats of about so many bytes."""

    def chat(messages: list[object]) -> bytes:
        return orjson.dumps({"messages": messages, "model": "gpt-4", "stream": True})

    def brackets(unit: bytes) -> bytes:
        units = unit * (size // len(unit) - 1)
        return b'{"messages":[' + units + unit[:-1] + b'],"model":"gpt-4"}'

    turn = {"role": "user", "content": "How does a fibre yield to another one? " * 5}
    parts = {"role": "user", "content": [{"type": "text", "text": "How?"}]}
    return {
        "one image": chat([{"role": "user", "content": "A" * size}]),
        "a long conversation": chat([turn] * (size // 230)),
        "short parts": chat([parts] * (size // 61)),
        "escapes": chat([{"role": "user", "content": "\n" * (size // 2)}]),
        "numbers": brackets(b"1,"),
        "brackets of six levels": brackets(b"[[[[[[]]]]]],"),
    }


class Beat:
    """
    Somebody else.

    :param reactor: whose turns are waited for.

    :ivar worst: the longest that a turn was late, in seconds.
    """

    def __init__(self, reactor: IReactor) -> None:
        self._reactor = reactor
        self.restart()
        self._again()

    def restart(self) -> None:
        """Forget what was."""
        self.worst = 0.0
        self._last = time.perf_counter()

    def _again(self) -> None:
        now = time.perf_counter()
        self.worst = max(self.worst, now - self._last - _BEAT_S)
        self._last = now
        self._reactor.callLater(_BEAT_S, self._again)


async def measured(reactor: IReactor, size: int) -> None:
    """Print a table."""
    beat, turns = Beat(reactor), Turns(reactor)

    async def rest() -> None:
        done: Deferred[None] = Deferred()
        reactor.callLater(0.05, done.callback, None)
        await done

    async def late(work: Callable[[], object]) -> tuple[float, float]:
        await rest()
        beat.restart()
        begin = time.perf_counter()
        result = work()
        if isinstance(result, Deferred):
            await result
        took = time.perf_counter() - begin
        await rest()
        return beat.worst * 1e3, took

    print(f"{'body':24}{'parser stalls':>15}{'turns stall':>13}{'they take':>11}")
    for name, body in bodies(size).items():
        whole, _ = await late(lambda body=body: orjson.loads(body))
        turned, took = await late(
            lambda body=body: Deferred.fromCoroutine(read_json_call(body, turns))
        )
        print(f"{name:24}{whole:12.1f} ms{turned:10.1f} ms{took:9.2f} s", flush=True)


def main() -> None:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__.strip().partition("\n")[0])
    parser.add_argument("--mebibytes", type=int, default=58)
    size = parser.parse_args().mebibytes * _MIB
    react(lambda reactor: Deferred.fromCoroutine(measured(reactor, size)))


if __name__ == "__main__":
    main()
