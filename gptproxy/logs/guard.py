"""
What every event passes before it comes to a sink: credentials are taken out, and what repeats itself is counted.

May import Twisted and of gptproxy this room. The event itself is changed, and this observer is the first: whatever
follows, twistd's own file and syslog among them, is given the event as it is then.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.internet.interfaces import IReactorTime
from twisted.logger import ILogObserver, LogEvent, Logger, LogLevel
from twisted.python.reflect import safe_str
from zope.interface import implementer

from gptproxy.logs.events import told
from gptproxy.logs.redaction import Redaction

__all__ = ["LogGuard"]

MOST_A_MINUTE: Final = 20
"""Of the same complaint: enough to see who is hit and how, too few to fill a disk."""

MINUTE: Final = 60.0

_MOST_KINDS: Final = 1_000
"""Of complaints that are told apart; formats are written in the code, so there are some hundreds."""

_LONGEST_WORDS: Final = 8_192
_LONGEST_TRACEBACK: Final = 32_768

_COMPLAINTS: Final = (LogLevel.warn, LogLevel.error, LogLevel.critical)

_OWN: Final = "gptproxy.logs.guard.LogGuard"
ACCESS: Final = "gptproxy.access"


class _Traceback:
    """
    Stands for a failure whose text is known.

    :param text: its traceback.
    """

    def __init__(self, failure: object, text: str) -> None:
        self.type = getattr(failure, "type", Exception)
        self.value = text.rpartition("\n")[2]
        self._text = text

    def getTraceback(self, *_: object, **__: object) -> str:
        """:return: the text; what Twisted's observers ask a failure for."""
        return self._text

    def getErrorMessage(self) -> str:
        """:return: its last line."""
        return self.value

    def check(self, *kinds: object) -> object:
        """
        :param kinds: exceptions.
        :return: the one among them that it is of; None.
        """
        return next((kind for kind in kinds if kind is self.type), None)


class _Kind:
    """
    One complaint.

    :param since: when its minute began.
    """

    __slots__ = ("more", "since", "told")

    def __init__(self, since: float) -> None:
        self.since = since
        self.told = 0
        self.more = 0


@implementer(ILogObserver)
class LogGuard:
    """
    :param redaction: takes out credentials.
    :param clock: for the minutes.
    :param suppressed: told of each event that is counted only.
    """

    _log = Logger()

    def __init__(
        self,
        redaction: Redaction,
        clock: IReactorTime,
        suppressed: Callable[[], None] = lambda: None,
    ) -> None:
        self._redaction = redaction
        self._clock = clock
        self.suppressed = suppressed
        self._kinds: dict[tuple[str, str], _Kind] = {}

    def __call__(self, event: LogEvent) -> None:
        """
        :param event: is changed in place; one that is not to be written has no words left.
        """
        if event.get("log_guarded") or event.get("log_namespace") == ACCESS:
            # Told again, from before logging began; or an access line, whose names were looked through.
            return
        event["log_guarded"] = True
        if event.get("log_level") in _COMPLAINTS and self._is_too_much(event):
            _silence(event)
            return
        self._redact(event)

    def tell_all(self) -> None:
        """Tell now what was counted: the process ends."""
        for key, kind in list(self._kinds.items()):
            if kind.more:
                self._tell_more(key, kind)

    def _is_too_much(self, event: LogEvent) -> bool:
        namespace = str(event.get("log_namespace"))
        if namespace == _OWN:
            return False
        key = (namespace, str(event.get("log_format")))
        now = self._clock.seconds()
        if key not in self._kinds and len(self._kinds) >= _MOST_KINDS:
            self._kinds = {
                each: kind for each, kind in self._kinds.items() if now < kind.since + MINUTE
            }
            if len(self._kinds) >= _MOST_KINDS:
                key = ("", "")
        kind = self._kinds.get(key)
        if kind is None or not kind.since <= now < kind.since + MINUTE:
            if kind is not None and kind.more:
                self._tell_more(key, kind)
            kind = self._kinds[key] = _Kind(now)
        if kind.told < MOST_A_MINUTE:
            kind.told += 1
            return False
        if not kind.more:
            wait = kind.since + MINUTE - now
            self._clock.callLater(wait, self._minute_over, key, kind)
        kind.more += 1
        self.suppressed()
        return True

    def _minute_over(self, key: tuple[str, str], kind: _Kind) -> None:
        if self._kinds.get(key) is kind:
            del self._kinds[key]
        if kind.more:
            self._tell_more(key, kind)

    def _tell_more(self, key: tuple[str, str], kind: _Kind) -> None:
        more, kind.more = kind.more, 0
        self._log.warn(
            "{more} more like this from {of}: {like}", more=more, of=key[0] or "-", like=key[1]
        )

    def _redact(self, event: LogEvent) -> None:
        words, traceback = told(event)
        clean = self._redaction.redacted(words)[:_LONGEST_WORDS]
        for name, value in event.items():
            if isinstance(value, bytes):
                value = value.decode("utf-8", "backslashreplace")
            if isinstance(value, str) and not name.startswith("log_"):
                event[name] = self._redaction.redacted(value)[:_LONGEST_WORDS]
        if clean != words:
            event["log_format"] = clean.replace("{", "{{").replace("}", "}}")
            # What the older observers read.
            for name in ("log_text", "log_io", "log_legacy"):
                event.pop(name, None)
        if traceback:
            self._redact_failure(event, traceback)

    def _redact_failure(self, event: LogEvent, traceback: str) -> None:
        failure = event["log_failure"]
        clean = traceback
        value = getattr(failure, "value", None)
        if isinstance(value, ValueError | LookupError) and (said := safe_str(value)):
            # These quote what they were given, which may be anybody's.
            clean = clean.replace(said, "<words not shown>")
        clean = self._redaction.redacted(clean)[-_LONGEST_TRACEBACK:]
        if clean != traceback:
            event["log_failure"] = _Traceback(failure, clean)


def _silence(event: LogEvent) -> None:
    """Leave nothing that an observer would write."""
    event.pop("log_failure", None)
    event["log_format"] = ""
    event["log_text"] = ""
