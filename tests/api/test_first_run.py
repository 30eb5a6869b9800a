"""What a gateway without an upstream says on ``/``."""

from __future__ import annotations

from pathlib import Path

import pytest
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.test.requesthelper import DummyRequest

from gptproxy.api.first_run import FirstRun, still_to_fill
from gptproxy.config import Settings, settings_from

SHIPPED = Path(__file__).parents[2] / "etc" / "gptproxy" / "gptproxy.toml"
UPSTREAM = {"name": "a", "kind": "openai", "url": "http://127.0.0.1:1"}
USER = {"user_id": "u", "token": "sk-4f29ec7c-user"}


def read(document: dict[str, object]) -> Settings:
    """:return: settings from /etc."""
    return settings_from(document, source="/etc/g.toml", directory=Path("/etc"), environ={})


@pytest.mark.parametrize(
    ("document", "text", "found"),
    [
        (
            {},
            "# one\n#[gitlab]\n#[[upstream]]\n",
            ["/etc/g.toml, line 3: an [[upstream]]", "/etc/g.toml, line 2: [gitlab]"],
        ),
        ({"user_token": [USER]}, "\n", ["/etc/g.toml, at its end: an [[upstream]]"]),
        ({"gitlab": {"url": "https://git.example.org"}}, "", ["/etc/g.toml, at its end: an"]),
        ({"upstream": [UPSTREAM], "user_token": [USER]}, "#[[upstream]]\n", []),
        ({"access": {"pure_proxy": True}}, "", []),
    ],
)
def test_still_to_fill(document: dict[str, object], text: str, found: list[str]) -> None:
    """A line of the file for each thing that is missing; nothing where callers can be served."""
    sentences = still_to_fill(read(document), text)
    assert len(sentences) == len(found)
    for sentence, beginning in zip(sentences, found, strict=True):
        assert sentence.startswith(beginning)


def test_the_shipped_file() -> None:
    """Has the lines that it is pointed to."""
    text = SHIPPED.read_text("utf-8")
    lines = text.splitlines()
    for sentence, header in zip(
        still_to_fill(read({}), text), ("#[[upstream]]", "#[gitlab]"), strict=True
    ):
        number = int(sentence.partition("line ")[2].partition(":")[0])
        assert lines[number - 1] == header


class PageTests(SynchronousTestCase):
    """On ``/``."""

    def test_the_page(self) -> None:
        """Is HTML in which nothing of the file's name is markup, and says 503."""
        request = DummyRequest([b""])
        FirstRun(("/etc/<b>.toml, line 3: an [[upstream]]",)).render(request)
        self.assertEqual(request.responseCode, 503)
        page = b"".join(request.written)
        self.assertIn(b"/etc/&lt;b&gt;.toml, line 3", page)
        self.assertIn(b"gptproxy setup", page)
