"""
The credential in a request's headers.

Pure: imports the configuration's values and the wire room.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from attrs import frozen

from gptproxy.access.refusals import invalid_credential
from gptproxy.config import Secret
from gptproxy.wire import Refusal

__all__ = ["JobSecret", "credential_in", "is_never_a_key"]

# RFC 6750 2.1 with the characters that GitLab's, OpenAI's and Haigpt's tokens have: anything visible. The longest are
# CI tokens and Haigpt's bearers with many deployments, both under 4 KiB.
_BEARER = re.compile(rb"[Bb][Ee][Aa][Rr][Ee][Rr] ++([!-~]{1,8192}+)")
_BARE = re.compile(rb"([!-~]{1,8192}+)")

# Haigpt's documentation spells the header "Authentication", and its users do; api-key is Azure's clients', the others
# are GitLab's own.
_FORMS = {
    b"authorization": _BEARER,
    b"authentication": _BEARER,
    b"api-key": _BARE,
    b"private-token": _BARE,
    b"job-token": _BARE,
}

# Those that no API of GitLab takes: deploy, runner, trigger, feed, incoming mail, agent, SCIM, feature flags, OAuth
# application secret ("Token overview", GitLab's documentation). All others may be anything, whatever they begin with.
_NEVER_KEYS = re.compile(
    r"gl(?:dt|rt|rtr|ptt|ft|imt|agent|soat|ffct|oas)-", re.ASCII
)  # matched at the start


@frozen(repr=False)
class JobSecret(Secret):
    """A credential that came as ``JOB-TOKEN`` and is nothing but a CI job token."""


def credential_in(fields: Iterable[tuple[bytes, bytes]]) -> Secret:
    """
    :param fields: a request's field lines, names in lower case.
    :return: the one credential in them; a :class:`JobSecret` where it came as ``JOB-TOKEN`` only.
    :raise Refusal: 401 where there is none that could be one, 400 where there are two different ones.
    """
    found: bytes | None = None
    job = True
    for name, value in fields:
        if name not in _FORMS:
            continue
        match = _FORMS[name].fullmatch(value)
        if match is None:
            raise _malformed(name)
        if found is not None and found != match[1]:
            raise Refusal(400, "The request carries two different credentials: send only one.")
        found = match[1]
        job = job and name == b"job-token"
    if found is None:
        raise invalid_credential(
            "You did not provide an API key: give your GitLab token as the API key "
            "(Authorization: Bearer TOKEN)."
        )
    return JobSecret(found.decode("ascii")) if job else Secret(found.decode("ascii"))


def is_never_a_key(credential: Secret) -> bool:
    """
    :param credential: the whole credential.
    :return: whether it is of a kind of GitLab's that is no key to its API, so that nobody need be asked.
    """
    return _NEVER_KEYS.match(credential.reveal()) is not None


def _malformed(name: bytes) -> Refusal:
    if _FORMS[name] is _BEARER:
        return invalid_credential(
            "The Authorization header is not of the form 'Bearer TOKEN': give your GitLab token as the API key."
        )
    return invalid_credential(
        f"The {name.decode('ascii')} header is not a token: give your GitLab token as the API key."
    )
