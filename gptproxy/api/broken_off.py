"""
What ends an answer that cannot be completed: its upstream broke off, or the gateway is stopped.

Pure: imports the wire room.
"""

from __future__ import annotations

import re

import orjson

from gptproxy.wire import Refusal

__all__ = ["BROKEN_OFF", "STOPPED", "GatewayStopped", "broken_off_event"]

BROKEN_OFF = Refusal(
    502,
    "The model's server broke off its answer: send the request again.",
    error_type="server_error",
    code="upstream_broke_off",
)
STOPPED = Refusal(
    503,
    "The gateway is being stopped or restarted: send the request again.",
    error_type="server_error",
    code="gateway_stopped",
    headers=((b"retry-after", b"2"), (b"x-should-retry", b"true")),
)

_SEQUENCE_NUMBER = re.compile(rb'"sequence_number"\s*+:\s*+(\d{1,15})\b')


class GatewayStopped(Exception):
    """The process ends, and the time for what was under way is over."""


def broken_off_event(
    route: str, answer_end: bytes | bytearray, error: Refusal = BROKEN_OFF
) -> bytes:
    """
    :param route: OpenAI's path.
    :param answer_end: the last bytes of what was relayed.
    :param error: why there is no more.
    :return: an event at which OpenAI's clients raise an error: they look for a member ``error``, in whichever event
        it is. Readers of the Responses API's own ``error`` event find what they know there, too.
    """
    if not route.startswith("/responses"):
        return b"data: " + error.body() + b"\n\n"
    numbers = _SEQUENCE_NUMBER.findall(answer_end)
    event = {
        "type": "error",
        "sequence_number": int(numbers[-1]) + 1 if numbers else 0,
        "code": error.code,
        "message": error.message,
        "param": None,
        **orjson.loads(error.body()),
    }
    return b"event: error\ndata: " + orjson.dumps(event) + b"\n\n"
