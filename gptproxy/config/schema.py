"""
The configuration's schema: every key once, and the way from what was written to ``Settings``.

Pure but for the files that secrets are fetched from; imports nothing of gptproxy but this room's
own modules, and nothing of Twisted. Defaults are not here: what is absent takes the default of
:mod:`gptproxy.config.settings`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from gptproxy.config.addresses import guarded_address
from gptproxy.config.checks import (
    choice,
    file_path,
    flag,
    free_text,
    matching,
    printable,
    seconds,
    whole,
    words,
)
from gptproxy.config.errors import ConfigurationError
from gptproxy.config.fields import Key, Place, Section, Table, TableList
from gptproxy.config.secrets import LONGEST_TOKEN, secret
from gptproxy.config.settings import (
    AccessSettings,
    GitLabSettings,
    KnowledgeSettings,
    LimitSettings,
    RetrySettings,
    Settings,
    TimeoutSettings,
    TLSSettings,
    TopicSettings,
    UserTokenSettings,
)
from gptproxy.config.upstreams import UPSTREAM

__all__ = ["SCHEMA", "plain", "settings_from", "tls_beside", "user_token_list"]

T = TypeVar("T")

_UNGUARDED = (
    "nobody guards this key, so gptproxy refuses to start; add [gitlab] with its url, "
    "or [[user_token]] with user_id and token"
)


def plain(settings: Callable[..., T]) -> Callable[[dict[str, object], Place], T]:
    """:return: what makes ``settings`` of the values alone, absent ones taking its defaults."""
    return lambda values, place: settings(**values)


def tls_beside(directory: Path) -> TLSSettings:
    """:return: what is served with where nothing else is written."""
    return TLSSettings(certificate=directory / "cert.pem", private_key=directory / "key.pem")


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


def _make_tls(values: dict[str, object], place: Place) -> TLSSettings:
    beside = tls_beside(place.directory)
    default = {"certificate": beside.certificate, "private_key": beside.private_key}
    return plain(TLSSettings)({**default, **values}, place)


def _make_gitlab(values: dict[str, object], place: Place) -> GitLabSettings:
    return plain(GitLabSettings)({**values, "url": str(values["url"])}, place)


def _make_settings(values: dict[str, object], place: Place) -> Settings:
    default = {"source": place.source, "tls": tls_beside(place.directory)}
    return plain(Settings)({**default, **values}, place)


def _backoff_grows(table: Table, place: Place) -> None:
    made = plain(RetrySettings)(dict(table.values), place)
    if made.backoff_seconds > made.backoff_max_seconds:
        place.at("backoff_max_seconds").note("must be at least backoff_seconds")


def _keys_are_guarded(table: Table, place: Place) -> None:
    """A key of the organisation's that anybody may use is what gptproxy exists to prevent."""
    upstreams = table.written.get("upstream")
    if "gitlab" in table.written or table.written.get("user_token"):
        return
    for number, upstream in enumerate(upstreams if isinstance(upstreams, list) else (), 1):
        if isinstance(upstream, dict) and "api_key" in upstream:
            place.at("upstream").item(number).at("api_key").note(_UNGUARDED)


def _topics_have_documents(table: Table, place: Place) -> None:
    if table.written.get("topic") and "knowledge" not in table.written:
        place.at("knowledge").note("missing; a [[topic]] needs [knowledge] with its database")


SCHEMA: Section[Settings] = Section(
    keys=(
        Key("unknown_model", choice("refuse", "first")),
        Key(
            "tls",
            Section(
                keys=(Key("certificate", file_path), Key("private_key", file_path)),
                make=_make_tls,
            ),
        ),
        Key(
            "gitlab",
            Section(
                keys=(
                    Key("url", guarded_address, required=True),
                    Key("cache_size", whole(1, 10_000_000)),
                    Key("cache_seconds", seconds),
                    Key("refused_seconds", seconds),
                ),
                make=_make_gitlab,
            ),
        ),
        Key(
            "upstream",
            TableList(UPSTREAM, distinct=("name", lambda upstream: upstream.name)),
            attribute="upstreams",
        ),
        Key("user_token", user_token_list("user_id"), attribute="user_tokens"),
        Key(
            "knowledge",
            Section(
                keys=(
                    Key("database", file_path, required=True),
                    Key("embedding_model", matching("[!-~]{1,256}", "a model's name")),
                ),
                make=plain(KnowledgeSettings),
            ),
        ),
        Key(
            "topic",
            TableList(
                Section(
                    keys=(
                        Key("words", words, required=True),
                        Key("documents", printable, required=True),
                        Key("prompt", free_text),
                        Key("preamble", free_text),
                        Key("max_tokens", whole(1, 1_000_000)),
                    ),
                    make=plain(TopicSettings),
                )
            ),
            attribute="topics",
        ),
        Key("access", Section(keys=(Key("pure_proxy", flag),), make=plain(AccessSettings))),
        Key(
            "retry",
            Section(
                keys=(
                    Key("attempts", whole(1, 20)),
                    Key("backoff_seconds", seconds),
                    Key("backoff_max_seconds", seconds),
                    Key("budget_seconds", seconds),
                ),
                make=plain(RetrySettings),
                rules=(_backoff_grows,),
            ),
        ),
        Key(
            "timeouts",
            Section(
                keys=(
                    Key("header_seconds", seconds),
                    Key("body_idle_seconds", seconds),
                    Key("keep_alive_idle_seconds", seconds),
                    Key("connect_seconds", seconds),
                    Key("first_byte_seconds", seconds),
                    Key("stream_idle_seconds", seconds),
                ),
                make=plain(TimeoutSettings),
            ),
        ),
        Key(
            "limits",
            Section(
                keys=(
                    Key("header_bytes", whole(1024, 16_777_216)),
                    Key("body_bytes", whole(1024, 2_147_483_647)),
                    Key("connections", whole(1, 1_000_000)),
                    Key("connections_per_address", whole(1, 1_000_000)),
                ),
                make=plain(LimitSettings),
            ),
        ),
    ),
    make=_make_settings,
    rules=(_keys_are_guarded, _topics_have_documents),
)


def settings_from(
    document: Mapping[str, object],
    *,
    source: str,
    directory: Path,
    environ: Mapping[str, str],
    schema: Section[Settings] = SCHEMA,
) -> Settings:
    """
    Check a whole configuration.

    :param document: what TOML or JSON gave.
    :param source: what messages call it.
    :param directory: absolute; where relative paths start.
    :param environ: environment variables that secrets may come from.
    :param schema: this form's, or another's that ends in the same settings.
    :return: the settings.
    :raise ConfigurationError: with every problem found.
    """
    place = Place(source, directory, environ)
    settings = place.attempt(schema, dict(document))
    if settings is None:
        raise ConfigurationError(place.problems)
    return settings
