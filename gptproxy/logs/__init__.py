"""
What the process says on its way out.

Of calls: what a line says is one thing (:mod:`~gptproxy.logs.access`), how its bytes leave is another
(:mod:`~gptproxy.logs.line_sink`, :mod:`~gptproxy.logs.journal`). Everything else goes through :mod:`twisted.logger`:
past the guard (:mod:`~gptproxy.logs.guard`), which takes credentials out (:mod:`~gptproxy.logs.redaction`) and counts
what repeats itself, into text, JSON or the journal (:mod:`~gptproxy.logs.events`). :class:`Logs` puts it together.
"""

from gptproxy.logs.access import AccessLog, access_log, journal_line, json_line, text_line
from gptproxy.logs.begin import EventSink, LoggedService, Logs
from gptproxy.logs.events import journal_event, json_event, text_event
from gptproxy.logs.guard import LogGuard
from gptproxy.logs.journal import JournalSink, goes_to_journal
from gptproxy.logs.line_sink import LineSink, logs_to_standard_output, standard_output
from gptproxy.logs.redaction import REDACTED, Redaction, redaction, secrets_in

__all__ = [
    "REDACTED",
    "AccessLog",
    "EventSink",
    "JournalSink",
    "LineSink",
    "LogGuard",
    "LoggedService",
    "Logs",
    "Redaction",
    "access_log",
    "goes_to_journal",
    "journal_event",
    "journal_line",
    "json_event",
    "json_line",
    "logs_to_standard_output",
    "redaction",
    "secrets_in",
    "standard_output",
    "text_event",
    "text_line",
]
