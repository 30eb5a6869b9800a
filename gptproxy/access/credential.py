"""
The credential in a request's headers.

Pure: imports the wire room only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from gptproxy.config import Secret
from gptproxy.wire import Refusal

__all__ = ["credential_in", "invalid_credential"]

# RFC 6750 2.1 with the characters that GitLab's, OpenAI's and Haigpt's tokens have: anything visible. The longest are
# CI tokens and Haigpt's bearers with many deployments, both under 4 KiB.
_BEARER = re.compile(rb"[Bb][Ee][Aa][Rr][Ee][Rr] ++([!-~]{1,8192}+)")

# Haigpt's documentation spells the header "Authentication", and its users do.
_HEADERS = frozenset((b"authorization", b"authentication"))


def credential_in(fields: Iterable[tuple[bytes, bytes]]) -> Secret:
    """
    :param fields: a request's field lines, names in lower case.
    :return: the one credential in them.
    :raise Refusal: 401 where there is none that could be one, 400 where there are two different ones.
    """
    found: set[bytes] = set()
    for name, value in fields:
        if name in _HEADERS:
            match = _BEARER.fullmatch(value)
            if match is None:
                raise invalid_credential(
                    "The Authorization header is not of the form 'Bearer TOKEN': "
                    "give your GitLab token as the API key."
                )
            found.add(match.group(1))
    if not found:
        raise invalid_credential(
            "You did not provide an API key: give your GitLab token as the API key "
            "(Authorization: Bearer TOKEN)."
        )
    if len(found) > 1:
        raise Refusal(400, "The request carries two different credentials: send only one.")
    return Secret(found.pop().decode("ascii"))


def invalid_credential(message: str) -> Refusal:
    """
    :param message: what to do about it.
    :return: a 401 in OpenAI's form, which its clients raise as AuthenticationError.
    """
    return Refusal(
        401,
        message,
        code="invalid_api_key",
        headers=((b"www-authenticate", b"Bearer"),),
    )
