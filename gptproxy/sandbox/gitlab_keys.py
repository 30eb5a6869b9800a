"""The key of the stand-in for a GitLab, and the CI id_tokens that it signs.

Written from RFC 7515 and 7517, not with the library that the gateway reads them with.

Pure: imports nothing of Twisted.
"""

from __future__ import annotations

import base64
from functools import cache

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from gptproxy.sandbox.gitlab_people import GROUPS, USERS, Job, Place, level_in
from gptproxy.sandbox.messages import Call, JsonObject, identifier, write_json

__all__ = ["id_token", "key_set"]

_KEY_ID = "sandbox-1"
_LIFE_SECONDS = 3600
_LEVELS = {10: "guest", 20: "reporter", 30: "developer", 40: "maintainer", 50: "owner"}


@cache
def _key() -> rsa.RSAPrivateKey:
    # Of this process alone: nobody else's GitLab trusts it.
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _number(value: int) -> str:
    return _text(value.to_bytes((value.bit_length() + 7) // 8, "big"))


def key_set() -> JsonObject:
    """:return: what ``/oauth/discovery/keys`` says."""
    numbers = _key().public_key().public_numbers()
    key = {"kty": "RSA", "kid": _KEY_ID, "use": "sig", "alg": "RS256"}
    return {"keys": [{**key, "n": _number(numbers.n), "e": _number(numbers.e)}]}


def id_token(call: Call, issuer: str, job: Job, place: Place) -> str:
    """
    :param call: whose ``aud`` and, for expired ones, ``age`` in seconds are taken.
    :param issuer: the address of this stand-in.
    :param job: for which it is.
    :param place: the job's project.
    :return: a signed token.
    """
    person = USERS[job.user_id]
    made = int(call.now) - int(call.query.get("age", ("0",))[0])
    namespace = place.path.rpartition("/")[0]
    groups = {group.path: group.place_id for group in GROUPS}
    claims = {
        "namespace_id": str(groups.get(namespace, 90)),
        "namespace_path": namespace,
        "project_id": str(place.place_id),
        "project_path": place.path,
        "user_id": str(person.user_id),
        "user_login": person.username,
        "user_email": f"{person.username}@gitlab.sandbox",
        "user_access_level": _LEVELS.get(level_in(place, person.user_id)),
        "pipeline_id": "7",
        "pipeline_source": "push",
        "job_id": str(job.job_id),
        "ref": job.ref,
        "ref_type": "branch",
        "ref_path": f"refs/heads/{job.ref}",
        "ref_protected": "true" if job.ref == "main" else "false",
        "runner_environment": "self-hosted",
        "jti": identifier(call, "jti"),
        "iss": issuer,
        "iat": made,
        "nbf": made - 5,
        "exp": made + _LIFE_SECONDS,
        "sub": f"project_path:{place.path}:ref_type:branch:ref:{job.ref}",
        "aud": call.query.get("aud", ("https://gpt.example.com",))[0],
    }
    head = {"kid": _KEY_ID, "typ": "JWT", "alg": "RS256"}
    signed = f"{_text(write_json(head))}.{_text(write_json(claims))}"
    signature = _key().sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
    return f"{signed}.{_text(signature)}"
