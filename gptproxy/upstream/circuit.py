"""
Is an upstream to be asked now? It is not while it is throttled or down.

Pure: imports the config room and this one; the time is passed in. The rules:

1. An upstream that says 429 is not asked for that model before the time it names.
2. One that failed often (no connection, 5xx) is down: it is not asked for a while. Then one call, the probe, is let
   through: if it is answered, whatever the answer, the upstream is well again; if not, the time doubles.
3. A probe that does not come back keeps its place for as long as the wait before it was; then another is let through.
4. What the content filter says is an answer like any other.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum, auto
from typing import Literal

from attrs import frozen

from gptproxy.config import RetrySettings
from gptproxy.upstream.window import Window

__all__ = ["Circuit", "Circuits", "Entry", "UpstreamState"]

MAX_THROTTLED_MODELS = 200
"""Models whose throttling is remembered for one upstream: more than any offers."""

LONGEST_THROTTLED_SECONDS = 600.0
"""After this time a throttled upstream is asked again, whatever it said: its limit may have been raised."""


class Entry(Enum):
    """What is said to a call that wants to be sent."""

    OPEN = auto()
    """it may"""
    PROBE = auto()
    """it may, and shows whether the upstream is well again"""
    THROTTLED = auto()
    """not before the time that the upstream named"""
    DOWN = auto()
    """not now"""


@frozen
class UpstreamState:
    """
    How an upstream is doing, for those who watch.

    :param name: whose.
    :param state: ``well``; ``throttled``, for one model at least; ``down``; or ``probing``: down, and a call is there
        to see whether it still is.
    :param seconds: until it is asked again; 0 where it is asked now.
    :param calls: attempts in the window.
    :param failures: of them those that failed.
    """

    name: str
    state: Literal["well", "throttled", "down", "probing"]
    seconds: float
    calls: int
    failures: int


class Circuit:
    """
    One upstream's.

    :param retry: the bounds.
    """

    __slots__ = (
        "_calls",
        "_down_until",
        "_failures",
        "_guarded",
        "_probe_ends",
        "_probe_seconds",
        "_retry",
        "_throttled",
    )

    def __init__(self, retry: RetrySettings) -> None:
        self._retry = retry
        self._calls = Window(retry.circuit_window_seconds)
        self._failures = Window(retry.circuit_window_seconds)
        # False: all is well, and nothing below has to be looked at.
        self._guarded = False
        self._throttled: dict[str, float] = {}
        self._down_until: float | None = None
        self._probe_ends: float | None = None
        self._probe_seconds = retry.circuit_probe_seconds

    def enter(self, model: str, now: float) -> Entry:
        """
        :param model: the upstream's own name for it.
        :param now: seconds.
        :return: whether a call may be sent; one that may is counted.
        """
        if self._guarded:
            entry = self._guard(model, now)
            if entry is not Entry.OPEN and entry is not Entry.PROBE:
                return entry
        else:
            entry = Entry.OPEN
        self._calls.count(now)
        return entry

    def wait_seconds(self, model: str, now: float) -> float:
        """
        :param model: the upstream's own name for it.
        :param now: seconds.
        :return: until it is worth while to ask again, as far as that is known.
        """
        until = max(
            self._throttled.get(model, now), self._down_until or now, self._probe_ends or now
        )
        return until - now

    def throttled(self, model: str, seconds: float, now: float) -> None:
        """
        The upstream said 429.

        :param model: its own name for it.
        :param seconds: how long it wants to be left alone.
        :param now: seconds.
        """
        if len(self._throttled) >= MAX_THROTTLED_MODELS and model not in self._throttled:
            del self._throttled[min(self._throttled, key=self._throttled.__getitem__)]
        until = now + min(seconds, LONGEST_THROTTLED_SECONDS)
        self._throttled[model] = max(until, self._throttled.get(model, until))
        self._guarded = True

    def failed(self, now: float, *, probe: bool) -> bool:
        """
        An attempt ended without an answer, or with the upstream's own trouble.

        :param now: seconds.
        :param probe: it was let in as the probe.
        :return: the upstream is down from now on, and was not before.
        """
        if probe:
            self._probe_ends = None
            self._probe_seconds = min(
                2 * self._probe_seconds, self._retry.circuit_probe_max_seconds
            )
            self._down_until = now + self._probe_seconds
            return False
        if self._down_until is not None:
            # It was sent before: nothing new.
            return False
        self._failures.count(now)
        failures = self._failures.sum(now)
        if failures < self._retry.circuit_calls:
            return False
        if failures < self._retry.circuit_share * self._calls.sum(now):
            return False
        self._down_until = now + self._probe_seconds
        self._guarded = True
        return True

    def answered(self) -> None:
        """The probe was answered: the upstream is well again."""
        self._probe_ends = self._down_until = None
        self._probe_seconds = self._retry.circuit_probe_seconds
        self._calls.clear()
        self._failures.clear()

    def gave_up(self) -> None:
        """The probe's caller left before it was answered: it shows nothing, and the next call is the probe."""
        self._probe_ends = None

    def state(self, name: str, now: float) -> UpstreamState:
        """
        :param name: the upstream's.
        :param now: seconds.
        :return: how it is doing.
        """
        state: Literal["well", "throttled", "down", "probing"] = "well"
        waits = [until - now for until in self._throttled.values() if until > now]
        seconds = min(waits, default=0.0)
        if waits:
            state = "throttled"
        if self._down_until is not None:
            probing = self._probe_ends is not None and now < self._probe_ends
            state = "probing" if probing else "down"
            seconds = max(0.0, (self._probe_ends if probing else self._down_until) - now)  # type: ignore[operator]  # probing: it is set
        return UpstreamState(name, state, seconds, self._calls.sum(now), self._failures.sum(now))

    def _guard(self, model: str, now: float) -> Entry:
        until = self._throttled.get(model)
        if until is not None:
            if now < until:
                return Entry.THROTTLED
            del self._throttled[model]
        if self._down_until is None:
            self._guarded = bool(self._throttled)
            return Entry.OPEN
        if now < self._down_until or (self._probe_ends is not None and now < self._probe_ends):
            return Entry.DOWN
        self._probe_ends = now + self._probe_seconds
        return Entry.PROBE


class Circuits:
    """
    The process's, one for each upstream.

    :param retry: the bounds.
    """

    def __init__(self, retry: RetrySettings) -> None:
        self._retry = retry
        # By name. Names come from the configuration; the pure proxy's upstreams have no circuit.
        self._circuits: dict[str, Circuit] = {}

    def take_over(self, before: Circuits, names: Iterable[str]) -> None:
        """
        :param before: those of a configuration that is given up.
        :param names: upstreams that are what they were.
        """
        for name in names:
            known = before._circuits.get(name)
            if known is not None:
                self._circuits[name] = known

    def of(self, name: str) -> Circuit:
        """
        :param name: an upstream's.
        :return: its circuit.
        """
        circuit = self._circuits.get(name)
        if circuit is None:
            circuit = self._circuits[name] = Circuit(self._retry)
        return circuit

    def states(self, now: float) -> tuple[UpstreamState, ...]:
        """
        :param now: seconds.
        :return: how every upstream is doing that was asked at least once.
        """
        return tuple(circuit.state(name, now) for name, circuit in self._circuits.items())
