"""
What a caller is told when gptproxy itself says no: OpenAI's error form.

Pure: imports nothing of gptproxy and nothing of Twisted. Every room raises :class:`Refusal`; the API room alone turns
it into an answer, so that no two rooms invent two forms.
"""

from __future__ import annotations

import orjson

__all__ = ["Refusal", "error_body"]


def error_body(
    message: str, *, error_type: str, code: str | None = None, param: str | None = None
) -> bytes:
    """
    Write OpenAI's error form; all four members are always there, as its specification requires.

    :param message: one sentence that says what to do.
    :param error_type: the family, for example ``invalid_request_error``.
    :param code: the machine-readable reason.
    :param param: the request's member that is at fault.
    :return: the JSON text.
    """
    return orjson.dumps(
        {
            "error": {
                "message": _sendable(message),
                "type": error_type,
                "param": None if param is None else _sendable(param),
                "code": None if code is None else _sendable(code),
            }
        }
    )


def _sendable(words: str) -> str:
    """:return: the words; what is no UTF-8 among them (a caller's, quoted) is replaced, for orjson refuses it."""
    return words.encode("utf-8", "replace").decode()


class Refusal(Exception):
    """
    An answer of gptproxy's own: its status and what it says.

    :param status: HTTP status code.
    :param message: one sentence for the caller, without anything secret.
    :param error_type: OpenAI's ``error.type``.
    :param code: OpenAI's ``error.code``.
    :param param: OpenAI's ``error.param``.
    :param headers: additional response headers, name and value.
    :param cause: what the operator's log says beside it; never sent.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        error_type: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        headers: tuple[tuple[bytes, bytes], ...] = (),
        cause: str = "",
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.error_type = error_type
        self.code = code
        self.param = param
        self.headers = headers
        self.cause = cause

    def again(self) -> Refusal:
        """:return: the same refusal as a new exception, without the traceback this one has gathered."""
        return Refusal(
            self.status,
            self.message,
            error_type=self.error_type,
            code=self.code,
            param=self.param,
            headers=self.headers,
            cause=self.cause,
        )

    def body(self) -> bytes:
        """:return: the JSON text of the error form."""
        return error_body(
            self.message, error_type=self.error_type, code=self.code, param=self.param
        )
