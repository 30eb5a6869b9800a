"""
Where the process's log goes, and in which form: beside what twistd's own options say.

May import Twisted, the config room's values, and of gptproxy this room. Where ``--logger`` is given, that observer is
told everything; where ``--logfile`` or ``--syslog`` is, twistd writes its text there. ``[log] format`` is about the
standard output, which is where everything goes that systemd or a container runs. Before all of them is the guard.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from twisted.application.service import IServiceCollection, MultiService
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorCore, IReactorTime
from twisted.logger import ILogObserver, LogEvent, LogLevel, globalLogPublisher
from twisted.python.components import Componentized
from zope.interface import implementer

from gptproxy.config import LogFormat, Settings
from gptproxy.logs.access import (
    Sink,
    access_log,
    forget_names,
    journal_line,
    json_line,
    text_line,
)
from gptproxy.logs.events import journal_event, json_event, text_event
from gptproxy.logs.guard import LogGuard
from gptproxy.logs.journal import JournalSink, goes_to_journal
from gptproxy.logs.line_sink import LineSink, logs_to_standard_output, standard_output
from gptproxy.logs.redaction import redaction, secrets_in

__all__ = ["EventSink", "LoggedService", "Logs"]

_R = TypeVar("_R")

_URGENT = (LogLevel.error, LogLevel.critical)


@implementer(ILogObserver)
class EventSink:
    """
    Writes events in a form of ours.

    :param form: an event to its line.
    :param sink: takes lines.
    """

    def __init__(self, form: Callable[[LogEvent], bytes], sink: Sink) -> None:
        self._form = form
        self._sink = sink

    def __call__(self, event: LogEvent) -> None:
        """
        :param event: of Twisted's log.
        """
        line = self._form(event)
        if not line:
            return
        self._sink.put(line)
        if isinstance(self._sink, LineSink) and event.get("log_level") in _URGENT:
            # The process may be about to end.
            self._sink.flush()


class Logs:
    """
    :param options: twistd's own.
    :param settings: what the operator decided; their secrets are never written.
    :param environ: the process's environment.
    :param reactor: when it has stopped, what is left is written.
    :param clock: for the waits.

    :ivar guard: stands before every sink.
    """

    def __init__(
        self,
        options: Mapping[str, object],
        settings: Settings,
        environ: Mapping[str, str],
        reactor: IReactorCore,
        clock: IReactorTime,
    ) -> None:
        self._options = options
        self._settings = settings
        self._environ = environ
        self._reactor = reactor
        self._clock = clock
        self.guard = LogGuard(redaction, clock)

    def begin(self, application: Componentized) -> None:
        """
        Prepare it, before twistd begins to log.

        :param application: twistd's; it may be given an observer that takes the place of twistd's own.
        """
        self.know(self._settings)
        # Observers are told in the order in which they were added.
        globalLogPublisher.addObserver(self.guard)
        if not logs_to_standard_output(self._options):
            return
        form: LogFormat = self._settings.log.format
        if form == "journal":
            if goes_to_journal(self._environ):
                journal = JournalSink()
                access_log.use(journal, journal_line)
                application.setComponent(ILogObserver, EventSink(journal_event, journal))
                return
            form = "text"
        sink = standard_output(self._reactor, self._clock)
        if sink is None:
            return
        access_log.use(sink, json_line if form == "json" else text_line)
        # In the text's form, too: twistd's own observer waits for whoever reads.
        event_form = json_event if form == "json" else text_event
        application.setComponent(ILogObserver, EventSink(event_form, sink))

    def know(self, settings: Settings) -> None:
        """
        :param settings: whose secrets are not to be written from now on: at a reload the new ones.
        """
        redaction.know(secrets_in(settings))
        forget_names()


class LoggedService(MultiService):
    """
    The daemon's service: when twistd puts it into its application, it begins to log.

    :param logs: what is prepared then; None: nothing, as in a test.
    """

    def __init__(self, logs: Logs | None = None) -> None:
        super().__init__()
        self._logs = logs

    def setServiceParent(self, parent: IServiceCollection) -> None:
        """
        :param parent: twistd's application, which is the one parent that takes components.
        """
        if self._logs is not None and isinstance(parent, Componentized):
            self._logs.begin(parent)
        super().setServiceParent(parent)

    def stopService(self) -> Deferred[None]:
        """
        Stop what is in it.

        :return: fires when that is done, and the log has been told what it held back.
        """
        stopping: Deferred[None] = super().stopService()
        return stopping if self._logs is None else stopping.addBoth(self._told)

    def _told(self, result: _R) -> _R:
        if self._logs is not None:
            self._logs.guard.tell_all()
        return result
