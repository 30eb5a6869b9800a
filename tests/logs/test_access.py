"""An access line's words in each form, and its ways out."""

from __future__ import annotations

import orjson
from attrs import evolve
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from gptproxy.call_record import CallRecord
from gptproxy.logs import AccessLog, journal_line, json_line, redaction, text_line
from gptproxy.logs.access import forget_names
from tests.logs.journal_entry import fields_of

BARE = CallRecord("id-1", "alice", "POST", "/chat/completions", "gpt-4o", "one", 2, 200, 17, 1.2344)
FULL = evolve(
    BARE,
    first_byte_seconds=0.25,
    prompt_tokens=3,
    completion_tokens=4,
    topics="fib js,net",
    passages=5,
    error="upstream_broke_off",
    ended=1_700_000_000.1234,
)
UNKNOWN = CallRecord("id-2", "-", "GET", "-", "-", "-", 0, 404, 9, 0.001, error="unknown_url")
WORDS = "id-1 alice POST /chat/completions gpt-4o one attempts=2 status=200 bytes=17 seconds=1.234"
ALL_WORDS = (
    f"{WORDS} first=0.250 tokens_in=3 tokens_out=4 topics=fib_js,net passages=5 "
    "error=upstream_broke_off"
)


class Lines:
    """A sink that keeps what it gets."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []

    def put(self, line: bytes) -> None:
        self.lines.append(line)


class TextLineTests(SynchronousTestCase):
    def test_it_is_what_twisteds_text_observer_would_have_written(self) -> None:
        stamp, rest = text_line(BARE).decode().split(" ", 1)
        self.assertRegex(stamp, r"^(1969|1970)-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4}$")
        self.assertEqual(rest, f"[gptproxy.access#info] {WORDS}\n")

    def test_what_is_known_besides_is_told(self) -> None:
        self.assertTrue(text_line(FULL).decode().endswith(f" {ALL_WORDS}\n"))

    def test_a_name_begins_no_line_and_no_field_and_is_no_key(self) -> None:
        """Of whatever form."""
        record = evolve(BARE, caller="a\nb status=200", model="sk-abcdefgh\ud800\x1b[31m\u202e")
        for form in (text_line, json_line, journal_line):
            line = form(record)
            self.assertNotIn(b"abcdefgh", line)
            self.assertNotIn(b"\x1b", line)
            self.assertNotIn("\u202e".encode(), line)
            self.assertIn(b"a_b_status=200", line)
        self.assertEqual(text_line(record).count(b"\n"), 1)
        self.assertLess(len(text_line(evolve(BARE, model="x" * 10_000))), 400)

    def test_a_secret_of_the_settings_is_no_name(self) -> None:
        """Also where it was written before it was known."""
        record = evolve(BARE, model="house-of-cards")
        self.assertIn(b"house-of-cards", text_line(record))
        self.addCleanup(forget_names)
        self.addCleanup(redaction.know, ())
        redaction.know(["house-of-cards"])
        forget_names()
        self.assertNotIn(b"house-of-cards", text_line(record))


class JSONLineTests(SynchronousTestCase):
    def test_everything_by_its_name(self) -> None:
        line = json_line(FULL)
        self.assertTrue(line.endswith(b"}\n"))
        self.assertEqual(
            orjson.loads(line),
            {
                "time": "2023-11-14T22:13:20.123+00:00",
                "level": "info",
                "namespace": "gptproxy.access",
                "request_id": "id-1",
                "caller": "alice",
                "method": "POST",
                "route": "/chat/completions",
                "model": "gpt-4o",
                "upstream": "one",
                "attempts": 2,
                "status": 200,
                "bytes": 17,
                "seconds": 1.2344,
                "first_byte_seconds": 0.25,
                "tokens_in": 3,
                "tokens_out": 4,
                "topics": "fib_js,net",
                "passages": 5,
                "error": "upstream_broke_off",
            },
        )

    def test_what_is_not_known_is_null(self) -> None:
        said = orjson.loads(json_line(UNKNOWN))
        for name in ("caller", "model", "upstream", "first_byte_seconds", "tokens_in", "topics"):
            self.assertIsNone(said[name])
        self.assertEqual(said["error"], "unknown_url")
        self.assertIsNone(orjson.loads(json_line(BARE))["error"])


class JournalLineTests(SynchronousTestCase):
    def test_the_text_and_its_parts(self) -> None:
        fields = fields_of(journal_line(FULL))
        self.assertEqual(fields["MESSAGE"], ALL_WORDS)
        self.assertEqual((fields["PRIORITY"], fields["SYSLOG_IDENTIFIER"]), ("6", "gptproxy"))
        self.assertEqual((fields["GPTPROXY_STATUS"], fields["GPTPROXY_TOKENS_IN"]), ("200", "3"))
        self.assertNotIn("GPTPROXY_CALLER", fields_of(journal_line(UNKNOWN)))


class AccessLogTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.events: list[LogEvent] = []
        globalLogPublisher.addObserver(self.events.append)
        self.addCleanup(globalLogPublisher.removeObserver, self.events.append)

    def test_without_a_sink_it_is_an_event_with_its_fields(self) -> None:
        AccessLog().write(evolve(BARE, upstream="{braces}", ended=5.0))
        (event,) = self.events
        self.assertEqual(event["log_namespace"], "gptproxy.access")
        self.assertEqual(formatEvent(event), WORDS.replace(" one ", " {braces} "))
        self.assertEqual((event["caller"], event["status"]), ("alice", 200))
        self.assertEqual((event["tokens_in"], event["log_time"]), (None, 5.0))

    def test_with_one_it_goes_there_in_the_form_that_was_chosen(self) -> None:
        log, sink = AccessLog(), Lines()
        log.use(sink)
        log.write(BARE)
        log.use(sink, lambda record: b"%d\n" % record.status)
        log.write(BARE)
        self.assertTrue(sink.lines[0].endswith(WORDS.encode() + b"\n"))
        self.assertEqual(sink.lines[1], b"200\n")
        self.assertEqual(self.events, [])
        log.use(None)
        log.write(BARE)
        self.assertEqual(len(self.events), 1)
