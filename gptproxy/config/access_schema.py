"""
Who may call: the keys of ``[gitlab]``, ``[[user_token]]`` and ``[access]``.

Pure but for the files that secrets are fetched from; imports nothing of gptproxy but this room's own modules, and
nothing of Twisted.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from gptproxy.config.access_settings import (
    ACCESS_LEVELS,
    AccessSettings,
    AllowSettings,
    GitLabSettings,
    UserTokenSettings,
)
from gptproxy.config.addresses import guarded_address
from gptproxy.config.checks import (
    choice,
    file_path,
    flag,
    matching,
    printable,
    seconds,
    whole,
    words,
)
from gptproxy.config.fields import Key, Place, Refused, Section, Table, TableList
from gptproxy.config.making import plain
from gptproxy.config.secrets import LONGEST_TOKEN, secret

__all__ = ["ACCESS", "ALLOW", "GITLAB", "access_beside", "user_token_list"]

_SEGMENT = r"[A-Za-z0-9_.-]{1,255}"
_named_group = matching(rf"{_SEGMENT}(?:/{_SEGMENT}){{0,20}}", "an id or a full path, as a/b")
_named_project = matching(
    rf"[0-9]{{1,18}}|{_SEGMENT}(?:/{_SEGMENT}){{1,21}}",
    "an id or a path with its namespace, as a/b",
)
_named_user = matching(_SEGMENT, "an id or a user name")
_level_name = choice(*ACCESS_LEVELS)


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


def _id_or(named: Callable[[object, Place], str]) -> Callable[[object, Place], str]:
    """:return: a check that takes an id, which people write as a number, or what ``named`` takes."""
    number = whole(1, 10**18 - 1)

    def check(value: object, place: Place) -> str:
        if isinstance(value, int) and not isinstance(value, bool):
            return str(number(value, place))
        return named(value, place)

    return check


def _access_level(value: object, place: Place) -> int:
    return ACCESS_LEVELS[_level_name(value, place)]


def _models(value: object, place: Place) -> tuple[str, ...]:
    """A check: patterns of models; an empty list would be a rule that lets people in for nothing."""
    if value == []:
        raise Refused('must name at least one model; "*" is all')
    return words(value, place)


def _exactly_one(table: Table, place: Place) -> None:
    if len({"group", "project", "user"} & set(table.written)) != 1:
        place.note("must have exactly one of group, project and user")


def _level_of_a_membership(table: Table, place: Place) -> None:
    if "user" in table.written and "min_access_level" in table.written:
        place.at("min_access_level").note("goes with group or project; a user has none")


ALLOW = Section(
    keys=(
        Key("group", _id_or(_named_group)),
        Key("project", _id_or(_named_project)),
        Key("user", _id_or(_named_user)),
        Key("min_access_level", _access_level),
        Key("models", _models),
        Key("protected_refs_only", flag),
    ),
    make=plain(AllowSettings),
    rules=(_exactly_one, _level_of_a_membership),
)
"""Some of the people and pipelines of a GitLab, wherever it is asked who they are."""


def _make_gitlab(values: dict[str, object], place: Place) -> GitLabSettings:
    return plain(GitLabSettings)({**values, "url": str(values["url"])}, place)


GITLAB = Section(
    keys=(
        Key("url", guarded_address, required=True),
        Key("audience", printable),
        Key("job_tokens", flag),
        Key("bots", flag),
        Key("scopes", words),
        Key("cache_size", whole(1, 10_000_000)),
        Key("cache_seconds", seconds),
        Key("refused_seconds", seconds),
        Key("grace_seconds", seconds),
        Key("service_token", secret(LONGEST_TOKEN)),
        Key("allow", TableList(ALLOW)),
    ),
    make=_make_gitlab,
)


def access_beside(place: Place) -> AccessSettings:
    """:return: what holds where nothing else is written: objects stand in the service's state directory, if any."""
    # systemd.exec(5), StateDirectory=: a colon parts several.
    state = place.environ.get("STATE_DIRECTORY", "").partition(":")[0]
    directory = Path(state) if state.startswith("/") else place.directory
    return AccessSettings(objects=directory / "objects.db")


def _make_access(values: dict[str, object], place: Place) -> AccessSettings:
    return plain(AccessSettings)({"objects": access_beside(place).objects, **values}, place)


ACCESS = Section(
    keys=(Key("pure_proxy", flag), Key("objects", file_path), Key("prompts", words)),
    make=_make_access,
)
