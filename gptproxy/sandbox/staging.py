"""How an answer is sent: its head, its pieces, their pace, and how it ends.

Pure: imports nothing of Twisted.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from enum import Enum

from attrs import evolve, field, frozen

from gptproxy.sandbox.azure_site import azure_answer
from gptproxy.sandbox.fault_answers import fault_reply
from gptproxy.sandbox.faults import Fault
from gptproxy.sandbox.gitlab import gitlab_answer
from gptproxy.sandbox.messages import Call, EventReply, Headers, Reply, sse
from gptproxy.sandbox.openai_site import openai_answer
from gptproxy.sandbox.responses import named_event

__all__ = ["Ending", "Staging", "site_answer", "stage"]

#: The text of one event of huge_stream: the size of a write that a socket takes at once.
_HUGE_TEXT = "0123456789abcdef" * 1024


class Ending(Enum):
    """What comes after the last piece."""

    FINISH = "finish"  #: the answer ends as HTTP wants it
    CUT = "cut"  #: the connection is closed, what was written is delivered
    RESET = "reset"  #: the connection is aborted
    HANG = "hang"  #: nothing, until the client leaves


@frozen
class Staging:
    """An answer ready to be sent.

    :param status: None sends no head.
    :param pieces: written one by one.
    :param length: the Content-Length; None for an answer in chunks.
    :param raw: bytes in place of a head.
    :param first_delay: seconds before anything.
    :param delay: seconds after each piece: 0 is one turn of the reactor, None none at all.
    """

    status: int | None = None
    headers: Headers = ()
    pieces: Iterable[bytes] = field(default=(), repr=False)
    length: int | None = None
    raw: bytes | None = None
    first_delay: float = 0.0
    delay: float | None = None
    ending: Ending = Ending.FINISH


def site_answer(call: Call, fault: Fault | None = None) -> Reply | EventReply:
    """
    :param call: what was asked.
    :param fault: one that changes an answer, or None.
    :return: the answer of the service that the call's role stands for.
    """
    if call.role == "gitlab":
        return gitlab_answer(call)
    return openai_answer(call, fault) if call.role == "openai" else azure_answer(call, fault)


def _huge(megabytes: float) -> Iterator[bytes]:
    frame = {"id": "chatcmpl-huge", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    choice: dict[str, object] = {"index": 0, "delta": {"content": _HUGE_TEXT}}
    event = sse({**frame, "choices": [{**choice, "finish_reason": None}]})
    for _ in range(math.ceil(megabytes * 2**20 / len(event))):
        yield event
    yield sse({**frame, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    yield sse("[DONE]")


_ERROR = {
    "message": "The server had an error processing your request. Sorry about that!",
    "type": "server_error",
    "param": None,
    "code": "server_error",
}


def _error_event(call: Call, fault: Fault, number: int) -> bytes:
    """The form of chats is a chunk, that of the Responses API an event of its own."""
    error = fault.body or _ERROR
    if not call.path.endswith("/responses"):
        return sse({"error": error})
    return named_event({"type": "error", "sequence_number": number, "error": error})


def _stage_events(call: Call, reply: EventReply, fault: Fault | None) -> Staging:
    events = reply.events
    half = max(len(events) // 2, 1)
    count = half if fault is None or fault.after_events is None else fault.after_events
    name = fault.fault if fault is not None else ""
    pieces: Iterable[bytes] = events
    delay: float | None = 0.0
    ending = Ending.FINISH
    if name == "cut_stream":
        pieces, ending = events[:count], Ending.CUT
    elif name == "hang_after_events":
        pieces, ending = events[:count], Ending.HANG
    elif fault is not None and (
        name == "error_event_in_stream"
        # Of the Responses API the stream itself knows it; elsewhere it is what comes nearest.
        or (name == "response_failed" and not call.path.endswith("/responses"))
    ):
        pieces = (*events[:count], _error_event(call, fault, count))
    elif name == "slow_events" and fault is not None:
        delay = fault.delay_seconds
    elif name == "huge_stream" and fault is not None:
        pieces, delay = _huge(fault.megabytes), None
    elif name == "split_bytes" and fault is not None:
        pieces = _split(b"".join(events), fault.size)
    return Staging(200, reply.headers, pieces, delay=delay, ending=ending)


def _split(body: bytes, size: int) -> list[bytes]:
    return [body[at : at + size] for at in range(0, len(body), size)]


def _stage_body(reply: Reply, fault: Fault | None) -> Staging:
    half = reply.body[: len(reply.body) // 2]
    pieces: Iterable[bytes] = (reply.body,)
    length: int | None = len(reply.body)
    first_delay, delay = 0.0, None
    ending = Ending.FINISH
    name = fault.fault if fault is not None else ""
    if name == "cut_stream":
        pieces, ending = (half,), Ending.CUT
    elif name == "hang_after_events":
        pieces, ending = (half,), Ending.HANG
    elif name == "slow_events" and fault is not None:
        first_delay = fault.delay_seconds
    elif name == "huge_stream" and fault is not None:
        pieces, length = _huge(fault.megabytes), None
    elif name == "split_bytes" and fault is not None:
        pieces, delay = _split(reply.body, fault.size), 0.0
    return Staging(
        reply.status,
        reply.headers,
        pieces,
        length,
        first_delay=first_delay,
        delay=delay,
        ending=ending,
    )


def stage(call: Call, fault: Fault | None) -> Staging:
    """
    :param call: what was asked.
    :param fault: the fault that strikes it, or None.
    :return: what is to be sent, and how. A fault of streams that meets an answer without one
        does what comes nearest: half a body, a wait before it, or a 500.
    """
    name = fault.fault if fault is not None else ""
    if name == "hang":
        return Staging(ending=Ending.HANG)
    if name == "reset_before_head":
        return Staging(ending=Ending.RESET)
    if fault is not None and name == "malformed_head":
        return Staging(raw=fault.head.encode("latin-1", "replace"), ending=Ending.CUT)
    reply = (fault_reply(fault, call) if fault is not None else None) or site_answer(call, fault)
    if name == "reset_after_head":
        length = len(reply.body) if isinstance(reply, Reply) else None
        status = reply.status if isinstance(reply, Reply) else 200
        return Staging(status, reply.headers, (), length, ending=Ending.RESET)
    if isinstance(reply, Reply):
        if fault is not None and name in ("error_event_in_stream", "response_failed"):
            reply = fault_reply(evolve(fault, fault="status_500"), call) or reply
        staging = _stage_body(reply, fault)
    else:
        staging = _stage_events(call, reply, fault)
    if fault is not None and name == "slow_answer":
        return evolve(staging, first_delay=fault.delay_seconds)
    return staging
