"""Tests of :mod:`gptproxy.config.errors`."""

from __future__ import annotations

from gptproxy.config import ConfigurationError, Problem


def test_one_line_for_each_problem() -> None:
    """``str`` gives FILE: KEY: message, and without a key FILE: message."""
    error = ConfigurationError(
        [Problem("g.toml", "tls.x", "unknown"), Problem("g.toml", "", "bad")]
    )
    assert str(error) == "g.toml: tls.x: unknown\ng.toml: bad"
    assert [problem.key for problem in error.problems] == ["tls.x", ""]


def test_control_characters_do_not_reach_the_terminal() -> None:
    """A name with line ends, escapes or lone surrogates is shown escaped, on one line."""
    line = str(Problem("a\nb", "k\x1b[2J\u202e", "m\udcff"))
    assert line == r"a\nb: k\x1b[2J\u202e: m\udcff"
