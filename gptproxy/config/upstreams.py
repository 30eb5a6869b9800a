"""
One ``[[upstream]]``: its keys, what holds for each kind, and the settings that come of it.

Pure but for the files that secrets are fetched from; imports nothing of gptproxy but this room's
own modules, and nothing of Twisted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from operator import itemgetter

from attrs import evolve

from gptproxy.config.addresses import NOT_LOOPBACK, Address, web_address
from gptproxy.config.azure_key import API_VERSION, DEPLOYMENT, RESOURCE, azure_url
from gptproxy.config.checks import choice, matching, model_names, whole
from gptproxy.config.entra_schema import ENTRA
from gptproxy.config.fields import Key, Place, Refused, Section, Table
from gptproxy.config.secrets import LONGEST_KEY, secret
from gptproxy.config.upstream_settings import UpstreamSettings

__all__ = [
    "OPENAI_URL",
    "UPSTREAM",
    "api_key",
    "api_version",
    "azure_deployments",
    "in_their_places",
    "make_upstream",
    "resource_name",
]

#: Where an openai upstream without a url goes.
OPENAI_URL = "https://api.openai.com/v1"

_NO_LINE = "an azure upstream needs at least one line: model = deployment"

_deployment_name = matching(
    DEPLOYMENT, "a deployment's name: 1 to 64 letters, digits, dots, underscores and hyphens"
)
_upstream_name = matching(
    r"[A-Za-z0-9._-]{1,64}", "1 to 64 letters, digits, dots, underscores and hyphens"
)

_account = matching(r"[A-Za-z0-9._-]{1,128}", "an id such as org-1a2b3c")

_V1_VERSIONS = ("v1", "preview", "latest")

resource_name = matching(
    RESOURCE, "an Azure resource's name, 1 to 63 letters, digits and hyphens; an address is a url"
)
api_key = secret(LONGEST_KEY)
api_version = matching(
    API_VERSION, "a date like 2023-05-15 (perhaps with -preview), v1, preview or latest"
)


def azure_deployments(value: object, place: Place) -> Mapping[str, str]:
    """A check: a table from model to Azure deployment, with at least one line."""
    names = model_names(value, place)
    if not names:
        raise Refused(_NO_LINE)
    checked = [place.at(model).attempt(_deployment_name, name) for model, name in names.items()]
    if None in checked:
        raise Refused
    return names


def make_upstream(values: dict[str, object], place: Place) -> UpstreamSettings:
    """
    :param values: attributes of :class:`~gptproxy.config.settings.UpstreamSettings`, with
        ``resource`` (a name) or ``url`` (an address) or, for openai's own, neither.
    :param place: where they were written.
    :return: the settings, their url in the form that is used.
    """
    values = dict(values)
    if values.get("api") == "v1":
        values.setdefault("api_version", "v1")
    resource, url = values.pop("resource", None), values.pop("url", None)
    if isinstance(resource, str):
        values["url"] = azure_url(resource)
    elif isinstance(url, Address):
        version = "/v1" if values["kind"] == "openai" and not url.path else ""
        values["url"] = f"{url}{version}"
    else:
        values["url"] = OPENAI_URL
    make: Callable[..., UpstreamSettings] = UpstreamSettings
    return make(**values)


def in_their_places(upstreams: Iterable[UpstreamSettings]) -> tuple[UpstreamSettings, ...]:
    """
    :param upstreams: as they were written.
    :return: the same, each in a tier (where none was written that is its place in the list), those of the lowest first.
    """
    placed = (
        (place if upstream.tier is None else upstream.tier, upstream)
        for place, upstream in enumerate(upstreams, 1)
    )
    return tuple(
        evolve(upstream, tier=tier) for tier, upstream in sorted(placed, key=itemgetter(0))
    )


def _azure(table: Table, place: Place) -> None:
    """What only holds for azure."""
    if table.values.get("kind") != "azure":
        return
    for name in ("organization", "project"):
        if name in table.written:
            place.at(name).note("only an openai upstream has it")
    if (
        table.values.get("api") == "v1"
        and table.values.get("api_version", "v1") not in _V1_VERSIONS
    ):
        place.at("api_version").note('must be "v1", "preview" or "latest" where api = "v1"')
    written, url, names = table.written, table.values.get("url"), table.values.get("deployments")
    if ("resource" in written) == ("url" in written):
        place.note('an azure upstream needs either resource = "NAME" or url = "https://..."')
    if isinstance(url, Address):
        if url.scheme == "http" and not url.loopback:
            place.at("url").note(NOT_LOOPBACK)
        if url.path and url.host.endswith(".azure.com"):
            place.at("url").note("must end with the host; gptproxy adds the path")
    if "entra" in written:
        if "api_key" in written:
            place.at("entra").note("must not stand beside api_key: one is enough")
    elif "api_key" not in written:
        place.at("api_key").note("missing; an azure upstream needs its key, or [upstream.entra]")
    if "deployments" not in written:
        place.at("deployments").note(f"missing; {_NO_LINE}")
    elif names is not None:
        place.at("deployments").attempt(azure_deployments, names)


def _openai(table: Table, place: Place) -> None:
    """What only holds for openai."""
    if table.values.get("kind") != "openai":
        return
    for name in ("resource", "api_version", "api", "entra"):
        if name in table.written:
            place.at(name).note("only an azure upstream has it")
    if "url" not in table.written and "api_key" not in table.written:
        place.at("api_key").note(
            f"missing; {OPENAI_URL} needs one, a server that needs none has a url"
        )


UPSTREAM = Section(
    keys=(
        Key("name", _upstream_name, required=True),
        Key("kind", choice("azure", "openai"), required=True),
        Key("resource", resource_name),
        Key("url", web_address),
        Key("api_key", api_key),
        Key("api_version", api_version),
        Key("deployments", model_names),
        Key("tier", whole(1, 1000)),
        Key("weight", whole(1, 1000)),
        Key("api", choice("classic", "v1")),
        Key("aliases", model_names),
        Key("organization", _account),
        Key("project", _account),
        Key("entra", ENTRA),
    ),
    make=make_upstream,
    rules=(_azure, _openai),
)
