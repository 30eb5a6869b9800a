"""
CI id_tokens: JSON web tokens that GitLab signed for one job, verified without asking it.

Pure: imports PyJWT and the access room's values. Time and the key are passed in.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping

import jwt
import orjson
from attrs import frozen
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from gptproxy.access.caller import Identity
from gptproxy.access.gitlab_answers import whole_number
from gptproxy.access.refusals import invalid_credential
from gptproxy.config import ACCESS_LEVELS
from gptproxy.wire import Refusal

__all__ = ["NOT_SIGNED", "IdToken", "key_id", "looks_like_id_token", "read_id_token", "read_keys"]

LEEWAY_SECONDS = 30.0
"""How far GitLab's clock and this machine's may be apart."""

_FORM = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", re.ASCII)
_USERNAME = re.compile(r"[\w.-]{1,255}")
_PATH = re.compile(r"(?:[\w.-]{1,255}/){1,21}[\w.-]{1,255}")
_DIGITS = re.compile(r"[1-9][0-9]{0,17}", re.ASCII)

_LEAST_KEY_BITS = 2048
_MOST_KEYS = 32

NOT_SIGNED = "Incorrect API key provided: this CI id_token is not one that your GitLab signed."


@frozen
class IdToken:
    """
    :param identity: the job, and the user who runs it.
    :param ends: when it expires, in seconds since 1970.
    """

    identity: Identity
    ends: float


def looks_like_id_token(text: str) -> bool:
    """
    :param text: a credential.
    :return: whether it is a JSON web token (RFC 7515 7.1). A job token that is one behind its ``glcbt-`` is none.
    """
    return text.startswith("ey") and _FORM.fullmatch(text) is not None and bool(_header(text))


def _header(text: str) -> Mapping[str, object]:
    # Read here, for PyJWT's releases differ in what they let pass.
    encoded = text.partition(".")[0]
    try:
        header = orjson.loads(base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)))
    except ValueError:
        return {}
    return header if isinstance(header, dict) else {}


def key_id(text: str) -> str | None:
    """
    :param text: a JSON web token.
    :return: which of GitLab's keys signed it, as it says; None where it cannot be GitLab's: another algorithm, no key
        id, or critical extensions, of which we know none (RFC 7515 4.1.11).
    """
    header = _header(text)
    kid = header.get("kid")
    if header.get("alg") != "RS256" or "crit" in header or not isinstance(kid, str):
        return None
    return kid


def read_keys(body: bytes) -> dict[str, RSAPublicKey] | None:
    """
    :param body: a JSON web key set (RFC 7517), of GitLab's ``/oauth/discovery/keys``.
    :return: its RSA keys by id, those that may be used for RS256; None where it is no key set.
    """
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    listed = content.get("keys") if isinstance(content, dict) else None
    if not isinstance(listed, list):
        return None
    keys: dict[str, RSAPublicKey] = {}
    for each in listed[:_MOST_KEYS]:
        kid, key = _key(each)
        if key is not None:
            keys[kid] = key
    return keys


def _key(listed: object) -> tuple[str, RSAPublicKey | None]:
    if not isinstance(listed, dict):
        return "", None
    kid = listed.get("kid")
    if (
        not isinstance(kid, str)
        or listed.get("kty") != "RSA"
        or listed.get("use", "sig") != "sig"
        or listed.get("alg", "RS256") != "RS256"
    ):
        return "", None
    try:
        key = jwt.PyJWK(listed, algorithm="RS256").key
    except (jwt.PyJWTError, ValueError, TypeError):
        return "", None
    strong = isinstance(key, RSAPublicKey) and key.key_size >= _LEAST_KEY_BITS
    return kid, key if strong else None


def read_id_token(
    text: str, key: RSAPublicKey, *, issuer: str, audience: str, now: float
) -> IdToken | Refusal:
    """
    Verify, about 50 microseconds' work.

    :param text: a JSON web token.
    :param key: the one it names.
    :param issuer: GitLab's base address.
    :param audience: what it must be meant for.
    :param now: seconds since 1970.
    :return: what it says, or the refusal. What is wrong with its claims is told only of one that GitLab signed.
    """
    try:
        # Times are looked at below: PyJWT takes the process's clock, which no test can move.
        claims = jwt.decode(
            text,
            key,
            algorithms=["RS256"],
            options={
                "verify_exp": False,
                "verify_nbf": False,
                "verify_iat": False,
                "verify_aud": False,
                "verify_iss": False,
            },
        )
    except (jwt.PyJWTError, ValueError, TypeError):
        return invalid_credential(NOT_SIGNED)
    if claims.get("iss") != issuer:
        return invalid_credential(NOT_SIGNED)
    meant_for = claims.get("aud")
    if meant_for != audience and not (isinstance(meant_for, list) and audience in meant_for):
        return invalid_credential(
            f"This CI id_token is meant for somebody else: put aud: {audience} under id_tokens in .gitlab-ci.yml."
        )
    ends, begins = _time(claims.get("exp")), _time(claims.get("nbf", 0))
    if ends is None or begins is None:
        return invalid_credential(NOT_SIGNED)
    if now >= ends + LEEWAY_SECONDS:
        return invalid_credential(
            "This CI id_token has expired: it lives as long as its job may, so use it in the job it was made for."
        )
    if now < begins - LEEWAY_SECONDS:
        return invalid_credential(
            "This CI id_token is not valid yet: the clocks of GitLab and of this gateway differ."
        )
    identity = _identity(claims)
    return invalid_credential(NOT_SIGNED) if identity is None else IdToken(identity, ends)


def _identity(claims: Mapping[str, object]) -> Identity | None:
    user_id, project_id = _number(claims.get("user_id")), _number(claims.get("project_id"))
    username, path = claims.get("user_login"), claims.get("project_path")
    ref, level = claims.get("ref"), claims.get("user_access_level")
    if (
        user_id is None
        or project_id is None
        or not (isinstance(username, str) and _USERNAME.fullmatch(username))
        or not (isinstance(path, str) and _PATH.fullmatch(path))
    ):
        return None
    return Identity(
        user_id,
        username,
        project_id=project_id,
        project_path=path,
        namespace_id=_number(claims.get("namespace_id")),
        level=ACCESS_LEVELS.get(level) if isinstance(level, str) else None,
        ref=ref if isinstance(ref, str) else "",
        is_tag=claims.get("ref_type") == "tag",
        # A string, as GitLab writes it.
        ref_protected=claims.get("ref_protected") in ("true", True),
    )


def _number(value: object) -> int | None:
    """:return: an id; GitLab writes it as text."""
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        return int(value)
    return whole_number(value)


def _time(value: object) -> float | None:
    """:return: seconds since 1970 (RFC 7519 2, NumericDate); None for anything else."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < 1e12:
        return None
    return float(value)
