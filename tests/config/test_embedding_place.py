"""Where embeddings are asked for: the upstreams, one of them, or a server of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from gptproxy.config import ConfigurationError, Settings, settings_from
from gptproxy.embedding_place import embedding_upstreams

_UPSTREAMS = [
    {"name": name, "kind": "openai", "url": f"http://127.0.0.1:{port}/v1"}
    for name, port in (("one", 1), ("two", 2))
]


def _settings(**knowledge: object) -> Settings:
    written = {
        "gitlab": {"url": "https://git.corp.com"},
        "upstream": _UPSTREAMS,
        "knowledge": {"database": "k.db", **knowledge},
    }
    return settings_from(written, source="g.toml", directory=Path("/"), environ={})


def _asked(**knowledge: object) -> list[str]:
    settings = _settings(**knowledge)
    assert settings.knowledge is not None
    return [one.url for one in embedding_upstreams(settings, settings.knowledge)]


def test_whom_embeddings_are_asked_of() -> None:
    """All upstreams in order, the named one, or the server alone."""
    assert _asked() == ["http://127.0.0.1:1/v1", "http://127.0.0.1:2/v1"]
    assert _asked(embedding_upstream="two") == ["http://127.0.0.1:2/v1"]
    assert _asked(embedding_url="http://127.0.0.1:8/v1/", embedding_upstream="two") == [
        "http://127.0.0.1:8/v1"
    ]


def test_the_server_has_its_key() -> None:
    """Sent to it alone; without one it is asked for nothing."""
    settings = _settings(embedding_url="http://127.0.0.1:8/v1", embedding_key="sk-embedding-key-1")
    assert settings.knowledge is not None
    (server,) = embedding_upstreams(settings, settings.knowledge)
    assert server.api_key is not None
    assert server.api_key.reveal() == "sk-embedding-key-1"


@pytest.mark.parametrize(
    ("knowledge", "line"),
    [
        ({"embedding_upstream": "three"}, "embedding_upstream: no [[upstream]] has this name"),
        ({"embedding_key": "sk-embedding-key-1"}, "embedding_key: is for embedding_url"),
        ({"embedding_url": "http://other.host/v1"}, "embedding_url: "),
        ({"embedding_dimensions": 0}, "embedding_dimensions: "),
        ({"batches_in_flight": 0}, "batches_in_flight: "),
    ],
)
def test_what_is_refused(knowledge: dict[str, object], line: str) -> None:
    """With the key that is to change."""
    with pytest.raises(ConfigurationError) as caught:
        _settings(**knowledge)
    assert f"g.toml: knowledge.{line}" in str(caught.value)
