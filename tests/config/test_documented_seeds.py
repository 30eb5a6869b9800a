"""The worked example of docs/upstreams.md: three formats, one meaning."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

from gptproxy.config import Settings, settings_from
from gptproxy.config.seeds import settings_from_environment, settings_from_haigpt

TEXT = (Path(__file__).parents[2] / "docs" / "upstreams.md").read_text("utf-8")
EXAMPLES = TEXT.partition("## The seeds' formats")[2]
DIRECTORY = Path("/etc/gptproxy")


def example(language: str) -> str:
    """:return: the first example in a language."""
    found = re.search(rf"```{language}\n(.*?)```", EXAMPLES, re.DOTALL)
    assert found is not None
    return found[1]


def test_the_three_formats_mean_the_same() -> None:
    """Environment, config.json and gptproxy.toml, as they are printed."""
    environ = dict(re.findall(r"^(\w+)='(.*)'$", example("sh"), re.MULTILINE))
    by_environment = settings_from_environment(environ, DIRECTORY)
    by_json = settings_from_haigpt(
        json.loads(example("json")), source="config.json", directory=DIRECTORY, environ={}
    )
    by_toml = settings_from(
        tomllib.loads(example("toml")), source="gptproxy.toml", directory=DIRECTORY, environ={}
    )
    assert len(by_toml.upstreams) == len(by_toml.user_tokens) == 2
    assert _alike(by_environment) == _alike(by_json) == _alike(by_toml)


def _alike(settings: Settings) -> tuple[object, ...]:
    return settings.upstreams, settings.user_tokens, settings.unknown_model
