"""Whatever upstreams do and whenever the caller leaves: what holds for every call that is carried out."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock, deferLater
from twisted.python.failure import Failure
from twisted.web.iweb import IBodyProducer

from gptproxy.config import RetrySettings
from gptproxy.http import ConnectFailed, FirstByteTimeout, Origin, Response
from gptproxy.upstream import NoUpstreamAnswer, Sender
from tests.upstream.examples import a_call
from tests.upstream.sender_case import BOTH, OK, ORIGIN, error
from tests.upstream.standins import ScriptedAgent, Step

#: After these the upstream surely made nothing.
UNTOUCHED: tuple[Step, ...] = (
    ConnectFailed(ORIGIN, Failure(ConnectionLost())),
    error(400, "content_filter"),
    error(401),
    error(404, "DeploymentNotFound"),
    error(429, "insufficient_quota"),
    error(429, "429", (b"retry-after", b"3")),
    error(429, "429", (b"retry-after", b"100")),
    error(503),
)
STEPS = (
    OK,
    error(400),
    error(409),
    error(500),
    error(408),
    ConnectionLost(),
    FirstByteTimeout(),
    *UNTOUCHED,
)


class TimedAgent(ScriptedAgent):
    """
    :param steps: what comes of each attempt, and how many seconds it takes.
    :param clock: for the time.
    """

    def __init__(self, steps: list[tuple[Step, float]], clock: Clock) -> None:
        super().__init__([step for step, _ in steps])
        self._seconds = iter([seconds for _, seconds in steps])
        self._clock = clock
        self.started: list[float] = []
        self.given: list[Step] = [step for step, _ in steps]

    async def ask(
        self,
        method: bytes,
        origin: Origin,
        target: bytes,
        fields: Iterable[tuple[bytes, bytes]],
        body: IBodyProducer | None = None,
    ) -> Response:
        self.started.append(self._clock.seconds())
        await deferLater(self._clock, next(self._seconds))
        return await super().ask(method, origin, target, fields, body)


@settings(max_examples=100, deadline=None)
@given(
    steps=st.lists(st.tuples(st.sampled_from(STEPS), st.floats(0, 20)), min_size=12, max_size=12),
    repeatable=st.booleans(),
    patience=st.none() | st.floats(1, 30),
    leaves=st.none() | st.floats(0, 80),
    chance=st.floats(0, 1),
)
def test_every_call(
    steps: list[tuple[Step, float]],
    repeatable: bool,
    patience: float | None,
    leaves: float | None,
    chance: float,
) -> None:
    """
    It ends. Nothing is sent behind its budget, nor after its answer, nor when the caller has left; what must not be
    done twice follows only on what surely made nothing; no timer is left behind.
    """
    clock = Clock()
    agent = TimedAgent(steps, clock)
    sender = Sender(agent, clock, lambda: chance, RetrySettings())  # type: ignore[arg-type]  # its stand-in
    call = evolve(a_call(repeatable=repeatable), patience_seconds=patience)
    sending = Deferred.fromCoroutine(sender.send(call, BOTH, own_key=False, request_id="r"))
    ended: list[object] = []
    sending.addBoth(ended.append)
    while not ended and clock.seconds() < 300:
        # To just behind what is due next: in longer steps a wait would seem to have ended late.
        due = [each.getTime() for each in clock.getDelayedCalls()]
        due += [leaves] if leaves is not None and leaves > clock.seconds() else []
        clock.advance(max(0.0, min(due, default=300.0) - clock.seconds()) + 1e-9)
        if leaves is not None and clock.seconds() >= leaves and not ended:
            made = len(agent.started)
            sending.cancel()
            clock.advance(300)
            assert len(agent.started) == made
    assert len(ended) == 1
    assert clock.getDelayedCalls() == []
    assert max(agent.started) <= min(60.0, patience or 60.0) + 1e-6
    came = agent.given[: len(agent.asked)]
    assert OK not in came[:-1]
    if not repeatable:
        assert all(step in UNTOUCHED for step in came[:-1])
    (end,) = ended
    if isinstance(end, Failure):
        assert end.check(NoUpstreamAnswer, CancelledError) is not None
    elif came[-1] is OK:
        assert end.answer.code == 200  # type: ignore[attr-defined]  # an UpstreamAnswer
    assert len(agent.started) <= 6
