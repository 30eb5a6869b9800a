"""
What must not stand in a log is replaced: what looks like a credential, and the secrets that are known.

May import attrs and of gptproxy the config room's ``Secret``; nothing of Twisted. Rooms do not log credentials; this is
for what slips through: a library's message, an address with a key in it, a traceback.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import quote

import attrs

from gptproxy.config import Secret

__all__ = ["REDACTED", "Redaction", "redaction", "secrets_in"]

REDACTED: Final = "<redacted>"

_SHORTEST: Final = 6
"""Characters of a secret that is looked for: a shorter one would be found in every other word."""

_TELLING_NAMES: Final = (
    r"api[-_]?key|x-api-key|access[-_]token|private[-_]token|job[-_]token|deploy[-_]token|id[-_]token|refresh[-_]token"
    r"|client[-_]secret|subscription-key|authorization|(?:set-)?cookie|password|passwd|secret|signature|assertion|token|sig"
)

# One pass for all: a group that takes part is kept, the rest is replaced.
_LOOKS_SECRET: Final = re.compile(
    # The user's part of an address.
    r"(?P<url>\b[a-z][a-z0-9+.-]{1,20}://)[^/\s@?#\"'<>]+(?=@)"
    # The scheme stays.
    r"|(?P<scheme>\b(?:bearer|basic)\s+)[^\s\"',;<>)\]]+(?:\s+(?=\S*\d)[^\s\"',;<>)\]]{16,})?"
    # A key that the old OpenAI browser clients send in a WebSocket's protocols.
    r"|(?P<browser>openai-insecure-api-key\.)[^\s\"',;]+"
    # A header, a query's part, a JSON member, an assignment.
    r"|(?P<name>(?<![a-z0-9])(?:"
    + _TELLING_NAMES
    + r")[\"']?+\s{0,2}+[:=]\s{0,2}+(?:b(?=[\"']))?+[\"']?+(?:bearer\s++|basic\s++)?+)"
    # Not what we say of a key ourselves.
    r"(?!<|(?:the|must)\s)[^\s\"'&,;<>)\]}]+"
    r"|(?P<query>[?&](?:key|code|auth|credential|session|state)=)(?!<)[^\s\"'&#<>]+"
    # GitLab's prefixes, OpenAI's, signed tokens.
    r"|\bgl(?:pat|oas|dt|rtr?|cbt|ptt|ft|imt|agent|soat|ffct|wt)-[\w.=-]+"
    r"|\b(?:sk|sess|rk|pk)-[\w-]{6,}"
    r"|\beyJ[\w-]{6,}\.[\w-]+(?:\.[\w-]*)?"
    # RESOURCE:MODEL|DEPLOYMENT,...:KEY[:VERSION], and what was meant to be one.
    r"|\b[a-z0-9][a-z0-9/-]{0,62}:[\w./:-]{1,256}\|[^\s\"']+"
    r"|\b[a-z0-9][a-z0-9/-]{0,62}:[\w./-]{1,64}:(?=[^\s:\"']*\d)[\w+/=-]{16,}(?::[\w-]+)?"
    # Azure's keys: 32 hexadecimal digits, or 84 letters and digits.
    r"|(?<![\w-])[0-9a-f]{32}(?![\w-])"
    r"|(?<![\w-])[a-z0-9]{76,}(?![\w-])",
    re.IGNORECASE,
)

# What steers a terminal, or makes a text read otherwise than it is.
_STEERING: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]"
)


def _kept(match: re.Match[str]) -> str:
    return f"{match[match.lastgroup] if match.lastgroup else ''}{REDACTED}"


def _escaped(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode()


class Redaction:
    """
    :param secrets: texts that are replaced wherever they stand.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._known: re.Pattern[str] | None = None
        self.know(secrets)

    def know(self, secrets: Iterable[str]) -> None:
        """
        :param secrets: in the place of those that were known.
        """
        forms = set()
        for secret in secrets:
            if len(secret) >= _SHORTEST:
                forms |= {secret, quote(secret, safe=""), repr(secret)[1:-1]}
        # A longer one first: one may be another's beginning.
        longest_first = sorted(forms, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, longest_first))) if forms else None

    def redacted(self, text: str) -> str:
        """
        :param text: of a log.
        :return: the text without credentials, and without what steers a terminal. A second time it stays as it is.
        """
        if self._known is not None:
            text = self._known.sub(REDACTED, text)
        return _STEERING.sub(_escaped, _LOOKS_SECRET.sub(_kept, text))


def secrets_in(settings: object) -> frozenset[str]:
    """
    :param settings: values of attrs classes, with more of them in sequences and mappings.
    :return: every secret in them.
    """
    if isinstance(settings, Secret):
        return frozenset((settings.reveal(),))
    parts: Iterable[object] = ()
    kind = type(settings)
    if attrs.has(kind):
        parts = (getattr(settings, each.name) for each in attrs.fields(kind))
    elif isinstance(settings, Mapping):
        parts = settings.values()
    elif isinstance(settings, tuple | list | frozenset | set):
        parts = settings
    return frozenset(secret for part in parts for secret in secrets_in(part))


redaction = Redaction()
"""The process's own."""
