"""
A call's id: in its answer's header, in every line of the log that is about it.

May import the wire room.
"""

from __future__ import annotations

import secrets
from itertools import count
from typing import Final

from gptproxy.wire import Refusal

__all__ = ["REQUEST_ID", "new_request_id", "refusal_page"]

REQUEST_ID: Final = b"x-gptproxy-request-id"

_PROCESS = secrets.token_hex(6)
_numbers = count(1)


def new_request_id() -> str:
    """:return: an id that no other call of this or another process has."""
    return f"{_PROCESS}-{next(_numbers):x}"


def refusal_page(status: int, reason: str) -> tuple[tuple[tuple[bytes, bytes], ...], bytes]:
    """
    Word what the HTTP room refuses before any resource is found; the Site's
    :data:`~gptproxy.http.site.RefusalPage`.

    :param status: status code.
    :param reason: one sentence.
    :return: headers, and the body in OpenAI's error form.
    """
    headers = ((b"content-type", b"application/json"), (REQUEST_ID, new_request_id().encode()))
    return headers, Refusal(status, reason).body()
