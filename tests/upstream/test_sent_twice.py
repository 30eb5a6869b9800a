"""What must not be done twice: after which answer a creation is sent again, and after which it is not."""

from __future__ import annotations

import pytest
from OpenSSL.SSL import Error as TLSError
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from gptproxy.config import RetrySettings
from gptproxy.http import ConnectFailed, FirstByteTimeout, MalformedMessage, ResponseNeverReceived
from gptproxy.upstream import NoUpstreamAnswer, Sender
from tests.upstream.examples import a_call
from tests.upstream.sender_case import BOTH, OK, ORIGIN, error
from tests.upstream.standins import Answer, ScriptedAgent, Step

UNREACHABLE = ConnectFailed(ORIGIN, Failure(ConnectionLost()))
PASSING_TROUBLE = (408, 500, 502, 504, 520, 521, 522, 523, 524, 529)
BLOCKED = Answer(
    403, b'{"error":{"code":"Forbidden","message":"Your resource has been temporarily blocked"}}'
)

#: Nothing of the request was sent; 429 and 503; the content filter; and what is turned away at the door, for that is
#: never the caller's fault: the key, the resource, the deployment, the quota.
SENT_AGAIN: list[Step] = [
    UNREACHABLE,
    error(429),
    error(429, "rate_limit_exceeded"),
    error(429, "insufficient_quota"),
    error(503),
    error(400, "content_filter"),
    error(401),
    error(403),
    BLOCKED,
    error(404, "DeploymentNotFound"),
]
#: The upstream may have worked on it, or the answer is the caller's.
NOT_SENT_AGAIN: list[Step] = [
    ConnectionLost(),
    FirstByteTimeout(),
    MalformedMessage("x"),
    ResponseNeverReceived(False, Failure(ConnectionLost())),
    TLSError([]),
    Answer(307),
    error(400),
    error(400, "invalid_value"),
    error(404),
    error(404, "model_not_found"),
    error(409),
    error(413),
    error(422),
    *(error(status) for status in PASSING_TROUBLE),
    Answer(200, b'{"id":', end=ConnectionLost()),
]


def asked(step: Step, *, repeatable: bool) -> int:
    """:return: how many requests there were in all, when this came first and everything after it is well."""
    clock = Clock()
    agent = ScriptedAgent([step, *[OK] * 3])
    sender = Sender(agent, clock, lambda: 1.0, RetrySettings())  # type: ignore[arg-type]  # its stand-in
    call = a_call(route="/images/generations", repeatable=repeatable)
    sending = Deferred.fromCoroutine(sender.send(call, BOTH, own_key=False, request_id="r"))
    sending.addErrback(lambda failure: failure.trap(NoUpstreamAnswer))
    clock.pump([1.0] * 5)
    assert sending.called
    return len(agent.asked)


@pytest.mark.parametrize("step", SENT_AGAIN)
def test_sent_again(step: Step) -> None:
    """Nothing can have been made, or what was made was taken back."""
    assert asked(step, repeatable=False) == 2


@pytest.mark.parametrize("step", NOT_SENT_AGAIN)
def test_not_sent_again(step: Step) -> None:
    """Neither to the same upstream nor to the next."""
    assert asked(step, repeatable=False) == 1


@pytest.mark.parametrize("status", PASSING_TROUBLE)
def test_what_may_be_done_twice(status: int) -> None:
    """The rows above are the creation's, not the status's."""
    assert asked(error(status), repeatable=True) == 2
