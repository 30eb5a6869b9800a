"""
The operator's own user tokens.

Pure: imports the access room's values and the configuration's.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable

from gptproxy.access.caller import Caller
from gptproxy.access.verdicts import Digest, Digester
from gptproxy.config import UserTokenSettings

__all__ = ["UserTokens"]


class UserTokens:
    """
    :param tokens: what the operator gave out.
    :param digester: hashes them, so that they are compared, and kept here, by digest only.
    """

    def __init__(self, tokens: Iterable[UserTokenSettings], digester: Digester) -> None:
        self._callers = [
            (digester.digest(token.token), Caller("user_token", token.user_id)) for token in tokens
        ]

    def caller(self, digest: Digest) -> Caller | None:
        """
        :param digest: of a credential.
        :return: whose it is. The time it takes tells nothing: every token is compared, in constant time each.
        """
        found: Caller | None = None
        for known, caller in self._callers:
            if hmac.compare_digest(known, digest):
                found = caller
        return found
