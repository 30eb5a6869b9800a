"""
What is known about credentials that were judged lately.

Pure: imports the access room's values and the wire room. Time is passed in, in seconds since 1970 because tokens end on
dates; what is kept of a credential is a keyed hash of the whole of it, under a key made when the process starts.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from hashlib import sha256
from math import inf

from attrs import frozen

from gptproxy.access.caller import Caller
from gptproxy.access.credential import JobSecret
from gptproxy.config import Secret
from gptproxy.wire import Refusal

__all__ = ["Digest", "Digester", "Judgement", "TokenFacts", "Verdict", "VerdictCache"]

_BLOCK_BYTES = 64

Digest = bytes
"""A keyed hash of a credential: 32 bytes."""

Verdict = Caller | Refusal
"""A caller who may come in, or the answer for one who may not."""


@frozen
class TokenFacts:
    """
    What stays as it is while a token lives, and need not be asked for again.

    :param scopes: what it is good for.
    :param ends: when it expires, in seconds since 1970.
    """

    scopes: frozenset[str] = frozenset()
    ends: float = inf


@frozen
class Judgement:
    """
    A verdict and what it holds for.

    :param verdict: the verdict.
    :param ends: when it holds no longer in any case, in seconds since 1970.
    :param facts: about the token, where they were asked for.
    :param about_account: it is a refusal of the user, not of this token alone.
    :param user_id: the user, where GitLab named them.
    :param offline: it was found without GitLab's help, and tells nothing of how GitLab is.
    """

    verdict: Verdict
    ends: float = inf
    facts: TokenFacts | None = None
    about_account: bool = False
    user_id: int | None = None
    offline: bool = False


class _Hash:
    """
    HMAC-SHA256 (RFC 2104) with the key's two blocks hashed beforehand: half of what :func:`hmac.digest` costs, and
    every call pays it.

    :param key: 32 bytes.
    """

    def __init__(self, key: bytes) -> None:
        block = key.ljust(_BLOCK_BYTES, b"\0")
        self._inner = sha256(bytes(byte ^ 0x36 for byte in block))
        self._outer = sha256(bytes(byte ^ 0x5C for byte in block))

    def digest(self, text: bytes) -> bytes:
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(text)
        outer.update(inner.digest())
        return outer.digest()


class Digester:
    """Hashes credentials under random keys of this process: what it gives is worth nothing elsewhere."""

    def __init__(self) -> None:
        self._bearers = _Hash(secrets.token_bytes(32))
        # What came as JOB-TOKEN is judged as such only: it must share no verdict with the same text as a bearer. Made
        # from the bearers' key, this key would be some bearer's digest.
        self._jobs = _Hash(secrets.token_bytes(32))

    def digest(self, credential: Secret) -> Digest:
        """
        :param credential: the whole credential; two that differ anywhere have different digests.
        :return: its HMAC-SHA256.
        """
        keyed = self._jobs if type(credential) is JobSecret else self._bearers
        return keyed.digest(credential.reveal().encode())


@frozen
class _Known:
    caller: Caller
    since: float
    expires: float
    welcome_until: float
    facts: TokenFacts | None


@frozen
class _Refused:
    refusal: Refusal
    since: float
    expires: float


class VerdictCache:
    """
    Verdicts by digest, the least recently used forgotten first. Callers and refusals have a bound each, so that
    made-up tokens cannot push known callers out.

    :param size: entries of either sort at most.
    :param known_seconds: how long a caller stays known.
    :param refused_seconds: how long a refusal stands.
    :param grace_seconds: how long after its confirmation a caller is welcome while nobody can be asked.
    """

    def __init__(
        self, size: int, known_seconds: float, refused_seconds: float, grace_seconds: float = 0.0
    ) -> None:
        self._size = size
        self._known_seconds = known_seconds
        self._refused_seconds = refused_seconds
        self._grace_seconds = max(grace_seconds, known_seconds)
        self._known: OrderedDict[Digest, _Known] = OrderedDict()
        self._refused: OrderedDict[Digest, _Refused] = OrderedDict()
        # A user's tokens among the known, to forget them together.
        self._of_user: dict[int, set[Digest]] = {}

    def get(self, digest: Digest, now: float) -> Verdict | None:
        """
        :param digest: of the credential.
        :param now: seconds, on the clock of :meth:`put`.
        :return: the verdict, unless it has expired. One from the future has too: a clock that was set back must not
            make a revoked token last.
        """
        known = self._known.get(digest)
        if known is not None:
            if known.since <= now < known.expires:
                self._known.move_to_end(digest)
                return known.caller
            if not known.since <= now < known.welcome_until:
                self._forget(digest)
            return None
        refused = self._refused.get(digest)
        if refused is not None:
            if refused.since <= now < refused.expires:
                self._refused.move_to_end(digest)
                return refused.refusal
            del self._refused[digest]
        return None

    def welcome(self, digest: Digest, now: float) -> Caller | None:
        """
        :param digest: of a credential whose verdict has expired.
        :param now: seconds.
        :return: the caller, if they were confirmed so lately that they are served while nobody can be asked.
        """
        known = self._known.get(digest)
        if known is None or not known.since <= now < known.welcome_until:
            return None
        self._known.move_to_end(digest)
        return known.caller

    def facts(self, digest: Digest) -> TokenFacts | None:
        """
        :param digest: of a credential.
        :return: what is known of it, if it was good when it was last asked about.
        """
        known = self._known.get(digest)
        return None if known is None else known.facts

    def put(self, digest: Digest, judgement: Judgement, since: float) -> None:
        """
        :param digest: of the credential.
        :param judgement: what was found; it takes the place of what was known.
        :param since: when it was asked for, in seconds: it holds for that moment, however long its answer took.
        """
        before = self._known.get(digest)
        self._forget(digest)
        self._refused.pop(digest, None)
        verdict = judgement.verdict
        if isinstance(verdict, Caller):
            self._put_known(digest, verdict, judgement, since)
            return
        user_id = judgement.user_id
        if user_id is None and before is not None:
            user_id = before.caller.user_id
        if judgement.about_account and user_id is not None:
            self.forget_user(user_id)
        self._refused[digest] = _Refused(verdict, since, since + self._refused_seconds)
        if len(self._refused) > self._size:
            self._refused.popitem(last=False)

    def _put_known(
        self, digest: Digest, caller: Caller, judgement: Judgement, since: float
    ) -> None:
        ends = judgement.ends
        self._known[digest] = _Known(
            caller,
            since,
            min(since + self._known_seconds, ends),
            min(since + self._grace_seconds, ends),
            judgement.facts,
        )
        if caller.user_id is not None:
            self._of_user.setdefault(caller.user_id, set()).add(digest)
        if len(self._known) > self._size:
            self._forget(next(iter(self._known)))

    def forget_refusals(self) -> None:
        """Whoever was refused is asked about anew."""
        self._refused.clear()

    def forget_user(self, user_id: int) -> None:
        """
        :param user_id: whose credentials are to be asked about anew, all of them.
        """
        for digest in tuple(self._of_user.get(user_id, ())):
            self._forget(digest)

    def _forget(self, digest: Digest) -> None:
        known = self._known.pop(digest, None)
        if known is None or known.caller.user_id is None:
            return
        tokens = self._of_user[known.caller.user_id]
        tokens.discard(digest)
        if not tokens:
            del self._of_user[known.caller.user_id]

    def __len__(self) -> int:
        """:return: entries of both sorts, expired ones that nobody asked for included."""
        return len(self._known) + len(self._refused)
