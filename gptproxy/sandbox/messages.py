"""What passes between the parts of the sandbox: calls, replies, refusals, and JSON as bytes.

Pure: imports nothing of Twisted.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, TypeAlias
from urllib.parse import unquote

from attrs import field, frozen

__all__ = [
    "Call",
    "EventReply",
    "Headers",
    "JsonObject",
    "Refusal",
    "Reply",
    "identifier",
    "parse_json",
    "read_json",
    "sse",
    "write_json",
]

#: A JSON object of one of the stood-in services. Its values are typed by their specification and
#: not by ours, hence the one Any of this room.
JsonObject: TypeAlias = dict[str, Any]

#: Response headers in the order in which they are sent; a name may come more than once.
Headers: TypeAlias = tuple[tuple[str, str], ...]


@frozen
class Call:
    """One request as a stand-in sees it, read completely.

    :param role: which stand-in received it: openai, azure, azure_secondary or gitlab.
    :param method: the method as sent.
    :param target: the request target as sent, query included.
    :param query: the decoded query: name to values.
    :param headers: name (lower case) and value, repeated where they were repeated.
    :param body: the whole body.
    :param number: counts the requests of this sandbox from 1.
    :param now: when it came, in seconds since 1970.
    """

    role: str
    method: str
    target: str
    query: Mapping[str, tuple[str, ...]] = field(factory=dict)
    headers: Headers = field(default=(), repr=False)
    body: bytes = field(default=b"", repr=False)
    number: int = 1
    now: float = 0.0

    @property
    def path(self) -> str:
        """The target without its query, as sent."""
        return self.target.partition("?")[0]

    @property
    def segments(self) -> tuple[str, ...]:
        """The decoded segments of the path; a segment may hold a slash that was sent as %2F."""
        return tuple(unquote(part) for part in self.path.split("/")[1:])

    def header(self, name: str) -> str | None:
        """
        :param name: the field's name in lower case.
        :return: its value, or None where it is missing or was sent more than once: a stand-in
            must not choose between two credentials.
        """
        values = [value for key, value in self.headers if key == name]
        return values[0] if len(values) == 1 else None

    def bearer(self) -> str | None:
        """
        :return: the token of ``Authorization: Bearer`` (RFC 6750 section 2.1; the scheme's case
            does not matter, RFC 9110 section 11.1), or None.
        """
        scheme, _, token = (self.header("authorization") or "").partition(" ")
        return token.strip() or None if scheme.lower() == "bearer" else None


@frozen
class Reply:
    """A whole answer with a known length."""

    status: int
    headers: Headers
    body: bytes = field(repr=False)


@frozen
class EventReply:
    """An answer of server-sent events, status 200, length unknown.

    :param events: the framed events, each ending in a blank line.
    """

    headers: Headers
    events: tuple[bytes, ...] = field(repr=False)


class Refusal(Exception):
    """An error that a stand-in answers; each site puts it into its own form.

    :param status: the HTTP status.
    :param message: the text for people.
    :param kind: OpenAI's ``error.type``.
    :param param: the parameter at fault.
    :param code: the text for programs.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str | None = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.kind = kind
        self.param = param
        self.code = code

    def body(self) -> JsonObject:
        """:return: OpenAI's error object; all four keys are required by its specification."""
        return {
            "error": {
                "message": self.message,
                "type": self.kind,
                "param": self.param,
                "code": self.code,
            }
        }


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def parse_json(body: bytes) -> object:
    """
    :param body: bytes from a client.
    :return: the JSON value in it.
    :raise ValueError: where it is not JSON in UTF-8 (RFC 8259; no NaN, no lone surrogate), or is
        nested deeper than Python follows.
    """
    try:
        value: object = json.loads(body.decode("utf-8"), parse_constant=_no_constant)
        if b"\\u" in body:
            write_json(value)  # a lone surrogate has no UTF-8 form: UnicodeEncodeError
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return value


def read_json(body: bytes) -> JsonObject:
    """
    :param body: a request's body.
    :return: the object in it.
    :raise Refusal: 400, where it is not JSON or not an object.
    """
    try:
        value = parse_json(body)
    except ValueError:
        raise Refusal(
            400,
            "We could not parse the JSON body of your request. (HINT: This likely means you "
            "aren't using your HTTP library correctly. The OpenAI API expects a JSON payload, "
            "but what was sent was not valid JSON.)",
        ) from None
    if not isinstance(value, dict):
        raise Refusal(400, "Invalid type for request body: expected an object.")
    return value


def write_json(value: object, *, indent: int | None = None) -> bytes:
    """
    :param value: what is to be written.
    :param indent: spaces per level, or None for the shortest form.
    :return: UTF-8 JSON; characters beyond ASCII are written as themselves, as the services do.
    """
    separators = (",", ":") if indent is None else (",", ": ")
    return json.dumps(value, ensure_ascii=False, indent=indent, separators=separators).encode()


def sse(payload: object) -> bytes:
    """
    :param payload: a JSON value, or the text ``[DONE]``.
    :return: one data-only server-sent event (WHATWG HTML section 9.2).
    """
    data = payload.encode() if isinstance(payload, str) else write_json(payload)
    return b"data: " + data + b"\n\n"


def identifier(call: Call, purpose: str, length: int = 24) -> str:
    """
    :param call: whom it is for.
    :param purpose: distinguishes the identifiers of one call.
    :param length: how many hexadecimal digits, at most 64.
    :return: digits that are the same for the same call number, so that tests can repeat them.
    """
    return hashlib.sha256(f"{call.role}/{call.number}/{purpose}".encode()).hexdigest()[:length]
