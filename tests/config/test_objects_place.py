"""Where the table of stored objects is kept when the operator does not say."""

from __future__ import annotations

from pathlib import Path

import pytest

from gptproxy.config import settings_from


@pytest.mark.parametrize(
    ("document", "environ", "expected"),
    [
        ({}, {}, "/c/objects.db"),
        ({"access": {"pure_proxy": True}}, {}, "/c/objects.db"),
        ({}, {"STATE_DIRECTORY": "/var/lib/g"}, "/var/lib/g/objects.db"),
        ({}, {"STATE_DIRECTORY": "/var/lib/g:/var/lib/h"}, "/var/lib/g/objects.db"),
        ({}, {"STATE_DIRECTORY": "relative"}, "/c/objects.db"),
        ({"access": {"objects": "o.db"}}, {"STATE_DIRECTORY": "/var/lib/g"}, "/c/o.db"),
    ],
)
def test_place(document: dict[str, object], environ: dict[str, str], expected: str) -> None:
    """The service's state directory, else beside the configuration."""
    settings = settings_from(document, source="g.toml", directory=Path("/c"), environ=environ)
    assert settings.access.objects == Path(expected)
