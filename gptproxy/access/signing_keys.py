"""
GitLab's public keys, by which its CI id_tokens are verified.

May import the access room's values, cryptography and Twisted.
"""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from twisted.internet.interfaces import IReactorTime

from gptproxy.access.gitlab_api import GitLabAPI
from gptproxy.access.id_token import read_keys
from gptproxy.access.refusals import GitLabAway
from gptproxy.access.slots import Slots
from gptproxy.http.single_flight import SingleFlight

__all__ = ["SigningKeys"]

PATH = "/oauth/discovery/keys"

FRESH_SECONDS = 3600.0
"""After so long they are fetched again: a key that GitLab withdrew is trusted that long at most."""

STALE_SECONDS = 86_400.0
"""While they cannot be fetched, the old ones are good for so long."""

BETWEEN_SECONDS = 60.0
"""Between two fetches for the sake of an unknown key id: whoever makes such ids up costs GitLab one call a minute."""

AFTER_FAILURE_SECONDS = 5.0
"""After a failure nothing is fetched for so long."""


class SigningKeys:
    """
    :param api: asks GitLab, the configured one alone, whatever a token says of its issuer.
    :param slots: for the calls.
    :param clock: for the keys' age.
    """

    def __init__(self, api: GitLabAPI, slots: Slots, clock: IReactorTime) -> None:
        self._api = api
        self._slots = slots
        self._clock = clock
        self._keys: dict[str, RSAPublicKey] = {}
        self._fetched: float | None = None
        self._failed: float | None = None
        self._fetching: SingleFlight[str, None] = SingleFlight()

    async def key(self, kid: str) -> RSAPublicKey | None:
        """
        :param kid: which key.
        :return: it; None where GitLab has no such key.
        :raise GitLabAway: the keys could not be fetched.
        """
        age = self._age(self._fetched)
        key = self._keys.get(kid)
        if key is not None and age < FRESH_SECONDS:
            return key
        if age < BETWEEN_SECONDS:
            return None
        try:
            if self._age(self._failed) < AFTER_FAILURE_SECONDS:
                raise GitLabAway("GitLab's keys could not be fetched a moment ago")
            await self._fetching.join(PATH, self._fetch)
        except GitLabAway:
            if key is not None and age < STALE_SECONDS:
                return key
            raise
        return self._keys.get(kid)

    def _age(self, moment: float | None) -> float:
        """:return: seconds since then; endless where there was none, or it is to come: the clock was set back."""
        age = -1.0 if moment is None else self._clock.seconds() - moment
        return age if age >= 0 else float("inf")

    async def _fetch(self) -> None:
        now = self._clock.seconds()
        try:
            keys = read_keys(await self._slots.run(lambda: self._api.body(PATH)))
            if keys is None:
                raise GitLabAway("GitLab answered 200 with something that is no key set")
        except GitLabAway:
            self._failed = now
            raise
        self._keys, self._fetched = keys, now
