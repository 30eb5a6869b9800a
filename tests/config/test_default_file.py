"""Tests of ``etc/gptproxy/gptproxy.toml``: it documents the schema, all of it, as it is."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import NOTHING, Factory, fields

from gptproxy.config import (
    AccessSettings,
    AdminSettings,
    CollectionSettings,
    EntraSettings,
    GitLabSettings,
    KnowledgeSettings,
    LimitSettings,
    LogSettings,
    ProcessSettings,
    RetrySettings,
    ReverseProxySettings,
    Settings,
    StreamSettings,
    TimeoutSettings,
    TopicSettings,
    UpstreamSettings,
    load_settings,
    settings_from,
)
from gptproxy.config.schema import SCHEMA
from gptproxy.config.upstreams import OPENAI_URL
from tests.config.documents import schema_paths

DEFAULT_FILE = Path(__file__).parents[2] / "etc" / "gptproxy" / "gptproxy.toml"
ENVIRON = {"OPENAI_API_KEY": "sk-proj-Zk3vT9wq1LmXo27R"}

#: A line that can be uncommented: a hash, then at once a key or a header.
SETTABLE = re.compile(r'^#(?=[\["A-Za-z])', re.MULTILINE)


def uncommented() -> dict[str, object]:
    return tomllib.loads(SETTABLE.sub("", DEFAULT_FILE.read_text("utf-8")))


def tables_in(value: object) -> list[dict[str, object]]:
    values = value if isinstance(value, list) else [value]
    return [each for each in values if isinstance(each, dict)]


def paths_in_file(table: dict[str, object], above: str = "") -> Iterator[str]:
    for name, value in table.items():
        path = above + name
        if path in PATHS or not tables_in(value):
            yield path
            continue
        for each in tables_in(value):
            yield from paths_in_file(each, f"{path}.")


PATHS = set(schema_paths(SCHEMA))


def test_it_loads_as_it_stands() -> None:
    """As shipped it has no upstream, nobody gets in, and everything else is at its default."""
    found = load_settings(DEFAULT_FILE, environ={}, working_directory=Path("/"))
    assert found == Settings(source=str(DEFAULT_FILE), tls=found.tls, access=found.access)
    assert found.access == AccessSettings(objects=DEFAULT_FILE.parent / "objects.db")
    assert found.tls.certificate == DEFAULT_FILE.parent / "cert.pem"
    assert found.tls.private_key == DEFAULT_FILE.parent / "key.pem"


def test_it_has_every_key_and_no_other() -> None:
    """Every key of the schema can be found in it by uncommenting."""
    assert set(paths_in_file(uncommented())) == PATHS


def test_it_loads_with_everything_uncommented(tmp_path: Path) -> None:
    """Every example is one that works, once the secrets are where it says."""
    for name in (
        "azure-primary",
        "user1-token",
        "entra-secret",
        "gitlab-service-token",
        "embedding-key",
        "gitlab-documents-token",
    ):
        (tmp_path / name).write_text(f"{name}-4f29ec7c\n")
    found = settings_from(
        uncommented(),
        source="gptproxy.toml",
        directory=DEFAULT_FILE.parent,
        environ={**ENVIRON, "CREDENTIALS_DIRECTORY": str(tmp_path)},
    )
    assert [upstream.kind for upstream in found.upstreams] == ["azure"] * 4 + ["openai"]
    assert found.gitlab is not None
    assert found.knowledge is not None
    assert (len(found.user_tokens), len(found.topics)) == (1, 1)


DEFAULTS: dict[str, object] = {
    "tls.certificate": "cert.pem",
    "tls.private_key": "key.pem",
    "upstream.url": OPENAI_URL,
    **{
        f"{above}{field.name}": field.default
        for above, settings in (
            ("", Settings),
            ("gitlab.", GitLabSettings),
            ("upstream.", UpstreamSettings),
            ("upstream.entra.", EntraSettings),
            ("knowledge.", KnowledgeSettings),
            ("knowledge.collection.", CollectionSettings),
            ("topic.", TopicSettings),
            ("access.", AccessSettings),
            ("retry.", RetrySettings),
            ("stream.", StreamSettings),
            ("timeouts.", TimeoutSettings),
            ("limits.", LimitSettings),
            ("reverse_proxy.", ReverseProxySettings),
            ("process.", ProcessSettings),
            ("admin.", AdminSettings),
            ("log.", LogSettings),
        )
        for field in fields(settings)
        if f"{above}{field.name}" in PATHS
        and field.default is not NOTHING
        and not isinstance(field.default, Factory)  # type: ignore[arg-type]  # a class at run time
    },
}
DEFAULTS["access.objects"] = "objects.db"
#: Where the file has an example, because the default is to have none.
for example in (
    *(f"upstream.{name}" for name in ("api_key", "deployments", "aliases", "tier")),
    *(f"upstream.{name}" for name in ("organization", "project")),
    *(f"upstream.entra.{name}" for name in ("tenant", "client_id", "client_secret")),
    *(f"upstream.entra.{name}" for name in ("token_file", "managed")),
    *(f"gitlab.{name}" for name in ("audience", "scopes", "service_token")),
    *(f"topic.{name}" for name in ("name", "words", "models", "prompt", "preamble")),
    *(f"knowledge.embedding_{name}" for name in ("dimensions", "key", "upstream", "url")),
    "access.prompts",
    "knowledge.gitlab_token",
    "limits.memory_bytes",
    "admin.listen",
):
    assert not DEFAULTS.pop(example)


@pytest.mark.parametrize("path", sorted(DEFAULTS))
def test_it_states_the_defaults(path: str) -> None:
    """What the file calls a default is the default, and every default is called one."""
    *above, name = path.split(".")
    tables = [uncommented()]
    for each in above:
        tables = [inner for table in tables for inner in tables_in(table.get(each))]
    assert DEFAULTS[path] in [table[name] for table in tables if name in table]
    text = DEFAULT_FILE.read_text("utf-8")
    assert re.search(rf"Default:\n#{name} = ", text), f"{path} is not called a default"


def test_nothing_else_is_called_a_default() -> None:
    """As many lines are introduced as defaults as there are defaults."""
    text = DEFAULT_FILE.read_text("utf-8")
    named = re.findall(r"Default:\n#(\w+) = ", text)
    assert sorted(named) == sorted(path.split(".")[-1] for path in DEFAULTS)
    assert text.count("Default:\n") == len(named)
