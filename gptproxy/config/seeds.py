"""
Haigpt's own forms, ``config.json`` and three environment variables, translated into ``Settings``.

Pure but for the files that secrets are fetched from; imports nothing of gptproxy but this room's
own modules, and nothing of Twisted. Haigpt sends a model that it does not know to the first
deployment, so ``unknown_model`` is ``first`` here. It serves everybody where no user token is
configured: gptproxy refuses that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from gptproxy.config.access_schema import user_token_list
from gptproxy.config.access_settings import UserTokenSettings
from gptproxy.config.azure_key import MalformedAzureKey, parse_azure_key
from gptproxy.config.checks import free_text
from gptproxy.config.fields import Check, Key, Place, Refused, Section, Table
from gptproxy.config.making import plain
from gptproxy.config.operation_schema import tls_beside
from gptproxy.config.schema import settings_from
from gptproxy.config.secrets import LONGEST_KEY, checked_secret
from gptproxy.config.settings import Settings
from gptproxy.config.upstream_settings import UpstreamSettings
from gptproxy.config.upstreams import (
    api_key,
    api_version,
    azure_deployments,
    in_their_places,
    make_upstream,
    resource_name,
)

__all__ = [
    "ENVIRONMENT_VARIABLES",
    "is_haigpt",
    "settings_from_environment",
    "settings_from_haigpt",
]

_UNGUARDED = (
    "nobody guards this key, so gptproxy refuses to start; add {tokens}, "
    "or use a gptproxy.toml with [gitlab]"
)


def _upstream(name: str) -> Section[UpstreamSettings]:
    return Section(
        keys=(
            Key("resourceId", resource_name, attribute="resource", required=True),
            Key("deployment", azure_deployments, attribute="deployments", required=True),
            Key("apiKey", api_key, attribute="api_key", required=True),
            Key("apiVersion", api_version, attribute="api_version"),
        ),
        make=lambda values, place: make_upstream({"name": name, "kind": "azure", **values}, place),
    )


def _settings(values: dict[str, object], place: Place) -> Settings:
    """:param values: ``primary``, ``secondary`` and ``user_tokens``, each where it was written."""
    return plain(Settings)(
        {
            "source": place.source,
            "tls": tls_beside(place.directory),
            "upstreams": in_their_places(
                upstream
                for name in ("primary", "secondary")
                if isinstance(upstream := values.get(name), UpstreamSettings)
            ),
            "user_tokens": values.get("user_tokens", ()),
            "unknown_model": "first",
        },
        place,
    )


def _guarded_by(tokens: str) -> Callable[[Table, Place], None]:
    """:return: the rule that no key stands without ``tokens``, a key of the same table."""

    def rule(table: Table, place: Place) -> None:
        for name in table.written:
            if name.lower().endswith("apikey") and not table.written.get(tokens):
                place.at(name).note(_UNGUARDED.format(tokens=tokens))

    return rule


def _upstream_in_text(name: str) -> Check:
    """:return: a check for ``RESOURCE:MODEL|DEPLOYMENT,...:KEY[:VERSION]``."""

    def check(value: object, place: Place) -> UpstreamSettings:
        try:
            parsed = parse_azure_key(free_text(value, place))
        except MalformedAzureKey as error:
            form = "RESOURCE:MODEL|DEPLOYMENT,...:KEY[:VERSION]"
            raise Refused(f"must be {form}; {error}") from None
        return UpstreamSettings(
            name=name,
            kind="azure",
            url=parsed.url,
            api_key=checked_secret(parsed.key.reveal(), LONGEST_KEY, subject="the key"),
            api_version=parsed.api_version,
            deployments=parsed.deployments,
        )

    return check


def _user_tokens_in_text(value: object, place: Place) -> tuple[UserTokenSettings, ...]:
    """A check: ``USER|TOKEN,USER|TOKEN``; a token may hold a bar, a comma parts the users."""
    pairs = [pair.partition("|") for pair in free_text(value, place).split(",")]
    if not all(bar for _, bar, _ in pairs):
        raise Refused("must be USER|TOKEN,USER|TOKEN,...")
    return _USER_TOKENS([{"userId": user, "token": token} for user, _, token in pairs], place)


_USER_TOKENS = user_token_list("userId")

_HAIGPT: Section[Settings] = Section(
    keys=(
        Key("primaryApiKey", _upstream("primary"), attribute="primary"),
        Key("secondaryApiKey", _upstream("secondary"), attribute="secondary"),
        Key("userTokens", _USER_TOKENS, attribute="user_tokens"),
    ),
    make=_settings,
    rules=(_guarded_by("userTokens"),),
)

_ENVIRONMENT: Section[Settings] = Section(
    keys=(
        Key("PrimaryApiKey", _upstream_in_text("primary"), attribute="primary"),
        Key("SecondaryApiKey", _upstream_in_text("secondary"), attribute="secondary"),
        Key("UserTokens", _user_tokens_in_text, attribute="user_tokens"),
    ),
    make=_settings,
    rules=(_guarded_by("UserTokens"),),
)

#: What Haigpt reads; one of them is enough to make the environment the configuration.
ENVIRONMENT_VARIABLES = tuple(key.name for key in _ENVIRONMENT.keys)


def is_haigpt(document: Mapping[str, object]) -> bool:
    """:return: whether a JSON document is in Haigpt's form: it has one of its keys, in any case."""
    return not {key.name.lower() for key in _HAIGPT.keys}.isdisjoint(map(str.lower, document))


def settings_from_haigpt(
    document: Mapping[str, object], *, source: str, directory: Path, environ: Mapping[str, str]
) -> Settings:
    """
    Check a ``config.json`` in Haigpt's form.

    Parameters, result and error are those of :func:`~gptproxy.config.schema.settings_from`.
    """
    return settings_from(
        document, source=source, directory=directory, environ=environ, schema=_HAIGPT
    )


def settings_from_environment(environ: Mapping[str, str], directory: Path) -> Settings:
    """
    Check ``PrimaryApiKey``, ``SecondaryApiKey`` and ``UserTokens``.

    :param environ: environment variables; one that is set and empty is refused, not passed over.
    :param directory: where ``cert.pem`` and ``key.pem`` are looked for.
    :return: the settings.
    :raise ConfigurationError: with every problem found.
    """
    return settings_from(
        {name: environ[name] for name in ENVIRONMENT_VARIABLES if name in environ},
        source="the environment",
        directory=directory,
        environ=environ,
        schema=_ENVIRONMENT,
    )
