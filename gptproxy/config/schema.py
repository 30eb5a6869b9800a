"""
The configuration's schema: every key once, and the way from what was written to ``Settings``.

Pure but for the files that secrets are fetched from; imports nothing of gptproxy but this room's
own modules, and nothing of Twisted. Defaults are not here: what is absent takes the default of
:mod:`gptproxy.config.settings`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from gptproxy.config.access_schema import ACCESS, GITLAB, access_beside, user_token_list
from gptproxy.config.checks import choice
from gptproxy.config.errors import ConfigurationError
from gptproxy.config.fields import Key, Place, Section, Table, TableList
from gptproxy.config.knowledge_schema import KNOWLEDGE, TOPIC
from gptproxy.config.knowledge_settings import KnowledgeSettings
from gptproxy.config.making import plain
from gptproxy.config.operation_schema import LIMITS, TIMEOUTS, TLS, tls_beside
from gptproxy.config.process_schema import ADMIN, LOG, PROCESS
from gptproxy.config.retry_schema import RETRY
from gptproxy.config.reverse_proxy import REVERSE_PROXY
from gptproxy.config.settings import Settings
from gptproxy.config.stream_schema import STREAM
from gptproxy.config.upstreams import UPSTREAM, in_their_places

__all__ = ["SCHEMA", "settings_from"]

_UNGUARDED = (
    "nobody guards this key, so gptproxy refuses to start; add [gitlab] with its url, "
    "or [[user_token]] with user_id and token"
)


def _make_settings(values: dict[str, object], place: Place) -> Settings:
    default = {
        "source": place.source,
        "tls": tls_beside(place.directory),
        "access": access_beside(place),
    }
    upstreams = values.get("upstreams", ())
    placed = {"upstreams": in_their_places(upstreams)} if isinstance(upstreams, tuple) else {}
    return plain(Settings)({**default, **values, **placed}, place)


def _keys_are_guarded(table: Table, place: Place) -> None:
    """A key of the organisation's that anybody may use is what gptproxy exists to prevent."""
    upstreams = table.written.get("upstream")
    if "gitlab" in table.written or table.written.get("user_token"):
        return
    for number, upstream in enumerate(upstreams if isinstance(upstreams, list) else (), 1):
        for name in ("api_key", "entra"):
            if isinstance(upstream, dict) and name in upstream:
                place.at("upstream").item(number).at(name).note(_UNGUARDED)


def _topics_have_documents(table: Table, place: Place) -> None:
    if table.written.get("topic") and "knowledge" not in table.written:
        place.at("knowledge").note("missing; a [[topic]] needs [knowledge] with its database")


def _embedding_upstream_is_there(table: Table, place: Place) -> None:
    knowledge, upstreams = table.values.get("knowledge"), table.values.get("upstreams", ())
    named = knowledge.embedding_upstream if isinstance(knowledge, KnowledgeSettings) else None
    if named is None or not isinstance(upstreams, tuple):
        return
    if all(upstream.name != named for upstream in upstreams):
        place.at("knowledge").at("embedding_upstream").note("no [[upstream]] has this name")


SCHEMA: Section[Settings] = Section(
    keys=(
        Key("unknown_model", choice("refuse", "first")),
        Key("tls", TLS),
        Key("gitlab", GITLAB),
        Key(
            "upstream",
            TableList(UPSTREAM, distinct=("name", lambda upstream: upstream.name)),
            attribute="upstreams",
        ),
        Key("user_token", user_token_list("user_id"), attribute="user_tokens"),
        Key("knowledge", KNOWLEDGE),
        Key("topic", TableList(TOPIC), attribute="topics"),
        Key("access", ACCESS),
        Key("retry", RETRY),
        Key("stream", STREAM),
        Key("timeouts", TIMEOUTS),
        Key("limits", LIMITS),
        Key("process", PROCESS),
        Key("admin", ADMIN),
        Key("log", LOG),
        Key("reverse_proxy", REVERSE_PROXY),
    ),
    make=_make_settings,
    rules=(_keys_are_guarded, _topics_have_documents, _embedding_upstream_is_there),
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
