"""
The access line's way into the log.

May import Twisted; nothing of gptproxy. There is one line for every call, so what a line costs every call costs: a
:class:`twisted.logger.Logger` that formats the fields took 75 of a call's 400 microseconds. Here the text is put
together by an f-string, and the event handed to the publisher that every other goes to.
"""

from __future__ import annotations

import time

from twisted.logger import LogLevel, globalLogPublisher

__all__ = ["NAMESPACE", "write_access_line"]

NAMESPACE = "gptproxy.access"


def write_access_line(
    *,
    request_id: str,
    caller: str,
    method: str,
    route: str,
    model: str,
    upstream: str,
    attempts: int,
    status: int,
    sent: int,
    seconds: float,
) -> None:
    """
    Publish one event: the fields, and the line as text.

    :param request_id: the call's id.
    :param caller: who called.
    :param method: HTTP method.
    :param route: OpenAI's path.
    :param model: the model's name.
    :param upstream: who answered.
    :param attempts: calls made to upstreams.
    :param status: what the caller got.
    :param sent: bytes of body.
    :param seconds: from the headers to the end.
    """
    line = (
        f"{request_id} {caller} {method} {route} {model} {upstream} attempts={attempts} "
        f"status={status} bytes={sent} seconds={seconds:.3f}"
    )
    globalLogPublisher(
        {
            "log_level": LogLevel.info,
            "log_namespace": NAMESPACE,
            "log_source": None,
            "log_time": time.time(),
            # The text itself: a format without fields takes half the time. Braces would be taken for some.
            "log_format": line.replace("{", "{{").replace("}", "}}"),
            "request_id": request_id,
            "caller": caller,
            "method": method,
            "route": route,
            "model": model,
            "upstream": upstream,
            "attempts": attempts,
            "status": status,
            "sent": sent,
            "seconds": seconds,
        }
    )
