"""
Who may call: the keys of ``[gitlab]``, ``[[user_token]]`` and ``[access]``.

Pure but for the files that secrets are fetched from; imports nothing of gptproxy but this room's own modules, and
nothing of Twisted.
"""

from __future__ import annotations

from gptproxy.config.access_settings import AccessSettings, GitLabSettings, UserTokenSettings
from gptproxy.config.addresses import guarded_address
from gptproxy.config.checks import flag, printable, seconds, whole
from gptproxy.config.fields import Key, Place, Section, TableList
from gptproxy.config.making import plain
from gptproxy.config.secrets import LONGEST_TOKEN, secret

__all__ = ["ACCESS", "GITLAB", "user_token_list"]


def user_token_list(user_key: str) -> TableList[UserTokenSettings]:
    """:return: a check for a list of user tokens, the user standing under ``user_key``."""
    return TableList(
        Section(
            keys=(
                Key(user_key, printable, attribute="user_id", required=True),
                Key("token", secret(LONGEST_TOKEN), required=True),
            ),
            make=plain(UserTokenSettings),
        ),
        distinct=("token", lambda given: given.token),
    )


def _make_gitlab(values: dict[str, object], place: Place) -> GitLabSettings:
    return plain(GitLabSettings)({**values, "url": str(values["url"])}, place)


GITLAB = Section(
    keys=(
        Key("url", guarded_address, required=True),
        Key("cache_size", whole(1, 10_000_000)),
        Key("cache_seconds", seconds),
        Key("refused_seconds", seconds),
    ),
    make=_make_gitlab,
)

ACCESS = Section(keys=(Key("pure_proxy", flag),), make=plain(AccessSettings))
