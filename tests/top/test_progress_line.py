"""Progress for whoever watches: a bar on a terminal, lines in a log."""

from __future__ import annotations

from io import StringIO

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from gptproxy.progress_line import ProgressLine


class _Terminal(StringIO):
    def isatty(self) -> bool:
        return True


class ProgressTests(SynchronousTestCase):
    """With a clock in memory."""

    def setUp(self) -> None:
        self.clock = Clock()

    def test_on_a_terminal(self) -> None:
        """A bar with rate and time left, written over, not more often than it is looked at, gone at the end."""
        output = _Terminal()
        line = ProgressLine(output, self.clock.seconds)
        line.tell("docs", 0, 8, "0 passages", what="x" * 50)
        self.clock.advance(0.05)
        line.tell("docs", 1, 8, "1 passages")
        self.clock.advance(1.95)
        line.tell("docs", 2, 8, "2 passages")
        line.tell("docs", 8, 8, "9 passages")
        line.end()
        self.assertEqual(
            output.getvalue().split("\r\x1b[K"),
            [
                "",
                f"docs [{'.' * 24}] 0/8, 0 passages  …{'x' * 39}",
                f"docs [{'#' * 6}{'.' * 18}] 2/8, 2 passages, 1.0/s, 0:06 left  ",
                f"docs [{'#' * 24}] 8/8, 9 passages, 4.0/s, 0:00 left  ",
                "",
            ],
        )

    def test_in_a_log(self) -> None:
        """A line for every tenth, however many documents; none of them for what is done at once."""
        output = StringIO()
        line = ProgressLine(output, self.clock.seconds)
        for done in range(1001):
            self.clock.advance(0.1)
            line.tell("docs", done, 1000, f"{done} passages")
        line.end()
        self.assertEqual(len(output.getvalue().splitlines()), 10)
        self.assertEqual(
            output.getvalue().splitlines()[-1], "docs: 1000/1000, 1000 passages, 10/s, 0:00 left"
        )
        output = StringIO()
        line = ProgressLine(output, self.clock.seconds)
        for done in range(11):
            line.tell("docs", done, 10, "no passages")
        self.assertEqual(output.getvalue(), "docs: 10/10, no passages\n")

    def test_what_takes_long_shows_that_it_goes_on(self) -> None:
        """Once a minute; hours are told as hours; another phase counts anew."""
        output = StringIO()
        line = ProgressLine(output, self.clock.seconds)
        for done in range(4):
            line.tell("docs", done, 1000, "x")
            self.clock.advance(61)
        line.tell("more", 0, 0, "x")
        self.assertEqual(
            output.getvalue().splitlines(),
            [
                "docs: 1/1000, x, 0.0/s, 16:55:39 left",
                "docs: 2/1000, x, 0.0/s, 16:54:38 left",
                "docs: 3/1000, x, 0.0/s, 16:53:37 left",
                "more: 0/0, x",
            ],
        )
