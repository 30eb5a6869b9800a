"""Nothing secret passes the guard, and nothing that repeats itself without end."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.logger import (
    LogEvent,
    Logger,
    LogLevel,
    LogPublisher,
    formatEvent,
    formatEventAsClassicLogText,
)
from twisted.python.failure import Failure
from twisted.python.log import textFromEventDict
from twisted.trial.unittest import SynchronousTestCase

from gptproxy.logs import REDACTED, LogGuard, Redaction
from gptproxy.logs.guard import MINUTE, MOST_A_MINUTE

CANARY = "Zq8Lm2Xv7Rt5Wk9Np3"


def failed(error: Exception) -> Failure:
    try:
        raise error
    except Exception:  # noqa: BLE001 - whichever it is
        return Failure()


class GuardTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.suppressed = 0
        self.guard = LogGuard(Redaction(["operators own"]), self.clock)
        self.guard.suppressed = self.count
        self.events: list[LogEvent] = []
        self.publisher = LogPublisher(self.guard, self.events.append)
        self.log = Logger(namespace="room", observer=self.publisher)
        patched = LogGuard._log
        self.patch(LogGuard, "_log", Logger(namespace=patched.namespace, observer=self.publisher))

    def count(self) -> None:
        self.suppressed += 1

    def lines(self) -> list[str]:
        """:return: what twistd's own text observer would have written."""
        return [line for event in self.events if (line := formatEventAsClassicLogText(event))]


class RedactingTests(GuardTestCase):
    def test_words_and_fields(self) -> None:
        """Whichever an observer reads."""
        self.log.info(
            "asked {url} for {n}: {raw!r} {{braces}}",
            url=f"https://h/?key={CANARY}",
            n=3,
            raw=f"bearer {CANARY}".encode(),
        )
        (event,) = self.events
        self.assertNotIn(CANARY, formatEvent(event) + repr(event))
        self.assertIn(f"asked https://h/?key={REDACTED} for 3", formatEvent(event))
        self.assertTrue(formatEvent(event).endswith("{braces}"))
        self.assertEqual(event["n"], 3)

    def test_objects_that_show_a_secret(self) -> None:
        """Their words are what is replaced."""
        self.log.info("it was {it}", it=[f"token={CANARY}", "operators own"])
        self.assertNotIn(CANARY, self.lines()[0])
        self.assertNotIn("operators own", self.lines()[0])

    def test_what_is_not_secret_stays_as_it_is(self) -> None:
        self.log.info("listening on {port}", port=443)
        (event,) = self.events
        self.assertEqual((event["log_format"], event["port"]), ("listening on {port}", 443))

    def test_older_observers_read_the_same(self) -> None:
        """Those of twisted.python.log."""
        event = {"log_format": "{log_text}", "log_text": f"sk-{CANARY}", "log_system": "-"}
        self.publisher(event)
        self.assertNotIn(CANARY, formatEvent(event))
        self.assertNotIn(CANARY, str(textFromEventDict({"message": (), "isError": 0, **event})))

    def test_tracebacks(self) -> None:
        """The frames stay, what the exception says is cleaned."""
        self.log.failure("no", failed(RuntimeError(f"PRIVATE-TOKEN: {CANARY}")))
        told = "".join(self.lines())
        self.assertNotIn(CANARY, told)
        self.assertIn("RuntimeError: PRIVATE-TOKEN: <redacted>", told)
        self.assertIn("in failed", told)
        failure = self.events[0]["log_failure"]
        self.assertNotIn(CANARY, failure.getErrorMessage() + failure.value)
        self.assertIs(failure.check(ValueError, RuntimeError), RuntimeError)
        self.assertIsNone(failure.check(ValueError))

    def test_exceptions_that_quote_what_they_were_given(self) -> None:
        """May quote a prompt: their words are left out."""
        for error in (ValueError("could not convert: 'tell me'"), KeyError("tell me")):
            self.log.failure("no", failed(error))
        told = "".join(self.lines())
        self.assertNotIn("tell me", told)
        self.assertIn("ValueError: <words not shown>", told)
        self.log.failure("no", failed(ValueError()))

    def test_a_failure_without_a_secret_stays(self) -> None:
        failure = failed(RuntimeError("plain"))
        self.log.failure("no", failure)
        self.assertIs(self.events[0]["log_failure"], failure)

    def test_it_is_done_once(self) -> None:
        """What came before logging began is told again: it counts once."""
        self.log.error("x")
        for _ in range(MOST_A_MINUTE * 2):
            self.publisher(self.events[0])
        self.assertEqual(self.suppressed, 0)

    def test_length(self) -> None:
        """Of one event."""
        self.log.info("{x}", x="ab cd " * 10_000)
        self.log.failure("no", failed(RuntimeError("sk-abcdefgh " + "y " * 100_000)))
        self.assertLess(len(self.lines()[1]), 50_000)


class CountingTests(GuardTestCase):
    def complain(self, times: int, words: str = "upstream {name} fails") -> None:
        for number in range(times):
            self.log.error(words, name=f"n{number}")

    def test_more_of_the_same_is_counted(self) -> None:
        """And told at the minute's end, once."""
        self.complain(MOST_A_MINUTE + 7)
        self.assertEqual((len(self.lines()), self.suppressed), (MOST_A_MINUTE, 7))
        self.clock.advance(MINUTE)
        self.assertEqual(len(self.lines()), MOST_A_MINUTE + 1)
        self.assertIn("7 more like this from room: upstream {name} fails", self.lines()[-1])
        self.complain(1)
        self.assertIn("upstream n0 fails", self.lines()[-1])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_the_process_ends(self) -> None:
        """What was counted so far is told."""
        self.complain(MOST_A_MINUTE + 3)
        self.guard.tell_all()
        self.assertIn("3 more like this", self.lines()[-1])
        self.guard.tell_all()
        self.clock.advance(MINUTE)
        self.assertEqual(len(self.lines()), MOST_A_MINUTE + 1)

    def test_a_new_minute(self) -> None:
        """Begins with the first complaint after the last one's end."""
        self.complain(MOST_A_MINUTE)
        self.clock.advance(MINUTE)
        self.complain(MOST_A_MINUTE)
        self.assertEqual((len(self.lines()), self.suppressed), (2 * MOST_A_MINUTE, 0))

    def test_others_are_not_held_back(self) -> None:
        """Another complaint, and what is none."""
        self.complain(MOST_A_MINUTE + 1)
        self.complain(1, "another")
        for _ in range(3 * MOST_A_MINUTE):
            self.log.info("upstream {name} fails", name="x")
        self.assertEqual(self.suppressed, 1)

    def test_failures(self) -> None:
        """Are silenced with their tracebacks."""
        for _ in range(MOST_A_MINUTE + 1):
            self.log.failure("no", failed(RuntimeError("x")))
        self.assertNotIn("log_failure", self.events[-1])
        self.assertEqual(len(self.lines()), MOST_A_MINUTE)

    def test_access_lines_are_never_held_back(self) -> None:
        for _ in range(3 * MOST_A_MINUTE):
            self.publisher(
                {"log_namespace": "gptproxy.access", "log_level": LogLevel.error, "log_format": "x"}
            )
        self.assertEqual((self.suppressed, len(self.lines())), (0, 3 * MOST_A_MINUTE))

    def test_endlessly_many_kinds(self) -> None:
        """Are one kind in the end, and old ones are forgotten."""
        for number in range(1_000 + MOST_A_MINUTE + 5):
            self.complain(1, f"complaint {number}")
        self.assertEqual(self.suppressed, 5)
        self.clock.advance(MINUTE)
        self.complain(1, "one more")
        self.assertLess(len(self.guard._kinds), 5)

    def test_a_clock_that_was_set_back(self) -> None:
        """Holds nothing back for ever."""
        self.clock.rightNow = 1_000.0
        self.complain(MOST_A_MINUTE + 2)
        self.clock.rightNow = 0.0
        self.complain(1)
        self.assertTrue(any("2 more like this" in line for line in self.lines()))
        self.clock.advance(2_000.0)
        self.assertEqual(sum("more like this" in line for line in self.lines()), 1)
