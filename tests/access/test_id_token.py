"""CI id_tokens are verified offline: the signature first, then the claims, and GitLab's keys alone count."""

from __future__ import annotations

import base64
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from gptproxy.access.id_token import (
    IdToken,
    key_id,
    looks_like_id_token,
    read_id_token,
    read_keys,
)
from gptproxy.wire import Refusal
from tests.access.rig import AUDIENCE

KEY = rsa.generate_private_key(65537, 2048)
OTHER_KEY = rsa.generate_private_key(65537, 2048)
WEAK_KEY = rsa.generate_private_key(65537, 1024)  # noqa: S505 - it is what must be refused
ISSUER = "https://git.corp.com"
KEYS = "/oauth/discovery/keys"
NOW = 1_700_000_000

CLAIMS: dict[str, Any] = {
    "iss": ISSUER,
    "aud": AUDIENCE,
    "exp": NOW + 300,
    "nbf": NOW - 5,
    "iat": NOW,
    "user_id": "7",
    "user_login": "alice.b-c_d",
    "user_access_level": "developer",
    "project_id": "20",
    "project_path": "a/b/c",
    "namespace_id": "11",
    "ref": "v1",
    "ref_type": "tag",
    "ref_protected": "true",
}


def pem(key: rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def signed(key: rsa.RSAPrivateKey = KEY, **changes: Any) -> str:
    claims = {name: value for name, value in {**CLAIMS, **changes}.items() if value is not None}
    payload = json.dumps(claims).encode()
    # Not jwt.encode, which refuses to write some of what is to be refused when it is read.
    return jwt.api_jws.encode(payload, pem(key), algorithm="RS256", headers={"kid": "k1"})


def text_of(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def forged(header: dict[str, Any], signature: str = "c2ln") -> str:
    return f"{text_of(header)}.{text_of(CLAIMS)}.{signature}"


def read(text: str, now: float = NOW) -> IdToken | Refusal:
    return read_id_token(text, KEY.public_key(), issuer=ISSUER, audience=AUDIENCE, now=now)


def test_a_job() -> None:
    """Who, where, and for what."""
    found = read(signed())
    assert isinstance(found, IdToken)
    job = found.identity
    assert found.ends == NOW + 300
    assert (job.user_id, job.username, job.level) == (7, "alice.b-c_d", 30)
    assert (job.project_id, job.project_path, job.namespace_id) == (20, "a/b/c", 11)
    assert (job.ref, job.is_tag, job.ref_protected, job.is_job) == ("v1", True, True, True)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"iss": "https://evil.com"}, "not one that your GitLab signed"),
        ({"iss": ISSUER + "/"}, "not one that your GitLab signed"),
        ({"iss": None}, "not one that your GitLab signed"),
        ({"iss": [ISSUER]}, "not one that your GitLab signed"),
        ({"aud": "https://other.com"}, f"aud: {AUDIENCE}"),
        ({"aud": AUDIENCE + "/x"}, f"aud: {AUDIENCE}"),
        ({"aud": ["a", "b"]}, f"aud: {AUDIENCE}"),
        ({"aud": None}, f"aud: {AUDIENCE}"),
        ({"aud": {AUDIENCE: 1}}, f"aud: {AUDIENCE}"),
        ({"exp": NOW - 30}, "expired"),
        ({"exp": None}, "not one"),
        ({"exp": "9999999999"}, "not one"),
        ({"exp": True}, "not one"),
        ({"exp": 1e300}, "not one"),
        ({"nbf": NOW + 31}, "not valid yet"),
        ({"nbf": "0"}, "not one"),
        ({"user_id": None}, "not one"),
        ({"user_id": "0"}, "not one"),
        ({"user_id": "alice"}, "not one"),
        ({"user_login": "a b"}, "not one"),
        ({"user_login": None}, "not one"),
        ({"project_id": "x"}, "not one"),
        ({"project_path": "../../x y"}, "not one"),
        ({"project_path": "b"}, "not one"),
    ],
)
def test_claims_that_do_not_do(changes: dict[str, Any], says: str) -> None:
    """Each is a 401 that says what to do, to who has a token of this GitLab's."""
    refusal = read(signed(**changes))
    assert isinstance(refusal, Refusal)
    assert (refusal.status, refusal.code) == (401, "invalid_api_key")
    assert says in refusal.message


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": [AUDIENCE]},
        {"aud": ["other", AUDIENCE]},
        {"exp": NOW - 29},
        {"nbf": NOW + 30},
        {"nbf": None},
        {"user_id": 7, "project_id": 20},
        {"user_access_level": None},
        {"user_access_level": "emperor"},
        {"ref": None, "namespace_id": None},
    ],
)
def test_claims_that_do(changes: dict[str, Any]) -> None:
    """Lists of audiences, clocks half a minute apart, what older GitLabs leave out."""
    assert isinstance(read(signed(**changes)), IdToken)


@pytest.mark.parametrize(("value", "protected"), [("true", True), ("false", False), (None, False)])
def test_protected_refs(value: str | None, protected: bool) -> None:
    """GitLab writes a text there; ``"false"`` is not true, and nothing is not true."""
    found = read(signed(ref_protected=value))
    assert isinstance(found, IdToken)
    assert found.identity.ref_protected is protected


def test_signatures() -> None:
    """Another key, a byte changed anywhere, none, or one by a public key as a shared secret: refused."""
    good = signed()
    public = KEY.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    head, body, signature = good.split(".")
    for text in (
        signed(OTHER_KEY),
        forged({"alg": "none", "kid": "k1"}, ""),
        forged({"alg": "RS256", "kid": "k1"}),
        f"{head}.{text_of({**CLAIMS, 'user_id': '1'})}.{signature}",
        f"{head}.{body}.{signature[:-4]}",
        f"{head}.{text_of([])}.{signature}",
        f"{text_of({'alg': 'HS256'})}.{body}.{signature}",
        forged({"alg": "HS256", "kid": "k1"}, base64.urlsafe_b64encode(public[:32]).decode()),
    ):
        refusal = read(text)
        assert isinstance(refusal, Refusal), text
        assert AUDIENCE not in refusal.message


def test_what_is_signed_need_not_be_claims() -> None:
    """A text, a list: no token."""
    for payload in (b"[]", b"7", b"no JSON", b"\xff"):
        text = jwt.api_jws.encode(payload, pem(KEY), algorithm="RS256", headers={"kid": "k1"})
        assert isinstance(read(text), Refusal)


@pytest.mark.parametrize(
    ("text", "looks", "kid"),
    [
        (forged({"alg": "RS256", "kid": "k1", "typ": "JWT"}), True, "k1"),
        (forged({"alg": "RS256"}), True, None),
        (forged({"alg": "none", "kid": "k1"}), True, None),
        (forged({"alg": "HS256", "kid": "k1"}), True, None),
        (forged({"alg": "ES256", "kid": "k1"}), True, None),
        (forged({"alg": "RS256", "kid": "k1", "crit": ["x"]}), True, None),
        ("glcbt-" + forged({"alg": "RS256", "kid": "k1"}), False, None),
        ("glpat-abc.01.0z1", False, None),
        ("eyJ.eyJ.x", False, None),
        ("ey.ey", False, None),
        ("ey?.ey.ey", False, None),
        (forged({"alg": "RS256", "kid": 7}), True, None),
        (forged([]), False, None),  # type: ignore[arg-type]  # what must not pass
    ],
)
def test_what_an_id_token_is(text: str, looks: bool, kid: str | None) -> None:
    """Three parts with a header in JSON; a job token that is one behind its prefix is another kind."""
    assert looks_like_id_token(text) is looks
    assert key_id(text) == kid


def listed(key: rsa.RSAPrivateKey = KEY, **changes: object) -> dict[str, object]:
    numbers = jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    said = {**numbers, "kid": "k1", "use": "sig", "alg": "RS256", **changes}
    return {name: value for name, value in said.items() if value is not None}


@pytest.mark.parametrize(
    "key",
    [
        listed(WEAK_KEY),
        listed(use="enc"),
        listed(alg="RS512"),
        listed(kid=None),
        listed(kty="oct"),
        listed(n="!"),
        listed(e=None),
        {"kty": "EC", "kid": "k1"},
        jwt.algorithms.ECAlgorithm.to_jwk(
            ec.generate_private_key(ec.SECP256R1()).public_key(), as_dict=True
        ),
        7,
        None,
    ],
)
def test_keys_that_are_none(key: object) -> None:
    """Weak, of other kinds, for other purposes or broken: left out, and the good one beside stays."""
    good = listed(OTHER_KEY, kid="k2")
    assert set(read_keys(json.dumps({"keys": [key, good]}).encode()) or ()) == {"k2"}


def test_key_sets() -> None:
    """What is no set of keys is none; an empty one is."""
    for body in (b"", b"<html>", b"[]", b"{}", b'{"keys":7}'):
        assert read_keys(body) is None
    assert read_keys(b'{"keys":[]}') == {}
    assert set(read_keys(json.dumps({"keys": [listed(use=None, alg=None)]}).encode()) or ()) == {
        "k1"
    }
    many = [listed(kid=str(number)) for number in range(40)]
    assert len(read_keys(json.dumps({"keys": many}).encode()) or ()) == 32
