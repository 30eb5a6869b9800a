"""What the tests of this room have in common: a place to check in, and a good document to spoil."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from gptproxy.config import ConfigurationError, Settings, settings_from
from gptproxy.config.fields import Section, TableList

AZURE_KEY = "4f29ec7c704d453fbb15e82a6700beef"
OPENAI_KEY = "sk-proj-Zk3vT9wq1LmXo27R"
USER_TOKEN = "sk-87vbtyWRh5tHEwRrZPd3z6U2CmGKQ1JnXbZtVgYpBmHZP9JKH"
DIRECTORY = Path("/etc/gptproxy")

T = TypeVar("T")


def azure(**changes: object) -> dict[str, object]:
    """:return: an azure upstream; a change to None takes the key away."""
    return _changed(
        {
            "name": "primary",
            "kind": "azure",
            "resource": "gpt1",
            "api_key": AZURE_KEY,
            "deployments": {"gpt-4": "gpt-4-eu"},
        },
        changes,
    )


def openai(**changes: object) -> dict[str, object]:
    """:return: an openai upstream; a change to None takes the key away."""
    return _changed({"name": "secondary", "kind": "openai", "api_key": OPENAI_KEY}, changes)


def guarded(*upstreams: object, **more: object) -> dict[str, object]:
    """:return: a document with these upstreams behind GitLab."""
    return {"gitlab": {"url": "https://git.corp.com"}, "upstream": list(upstreams), **more}


def settings(
    document: Mapping[str, object],
    environ: dict[str, str] | None = None,
    directory: Path = DIRECTORY,
) -> Settings:
    """:return: the settings of a document that must be good."""
    return settings_from(
        document, source="gptproxy.toml", directory=directory, environ=environ or {}
    )


def problems(
    document: Mapping[str, object],
    environ: dict[str, str] | None = None,
    directory: Path = DIRECTORY,
) -> list[str]:
    """:return: the lines about a document, none where it is good."""
    try:
        settings(document, environ, directory)
    except ConfigurationError as error:
        return str(error).splitlines()
    return []


def schema_paths(section: Section[T], above: str = "") -> Iterator[str]:
    """:return: the dotted path of every key that has a value of its own."""
    for key in section.keys:
        inner = key.check.section if isinstance(key.check, TableList) else key.check
        if isinstance(inner, Section):
            yield from schema_paths(inner, f"{above}{key.name}.")
        else:
            yield above + key.name


def _changed(document: dict[str, object], changes: dict[str, object]) -> dict[str, object]:
    document |= changes
    return {key: value for key, value in document.items() if value is not None}
