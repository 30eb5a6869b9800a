"""Is an upstream to be asked now? And how often may one be asked again?"""

from __future__ import annotations

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from gptproxy.config import RetrySettings
from gptproxy.upstream.alarm import MAX_REMEMBERED, Alarm
from gptproxy.upstream.budget import RetryBudget
from gptproxy.upstream.circuit import (
    LONGEST_THROTTLED_SECONDS,
    MAX_THROTTLED_MODELS,
    Circuit,
    Circuits,
    Entry,
    UpstreamState,
)
from gptproxy.upstream.window import Window

OPEN, PROBE, THROTTLED, DOWN = Entry.OPEN, Entry.PROBE, Entry.THROTTLED, Entry.DOWN
RETRY = RetrySettings()


def a_circuit(failures: int = 0, *, calls: int = 0, now: float = 100.0) -> Circuit:
    """:return: one with so many calls in all, of which the last have failed."""
    circuit = Circuit(RETRY)
    for number in range(max(calls, failures)):
        assert circuit.enter("m", now) is OPEN
        if number >= calls - failures:
            circuit.failed(now, probe=False)
    return circuit


# Windows and budgets


def test_a_window() -> None:
    """It forgets in ten steps."""
    window = Window(10.0)
    for now in (0.0, 0.5, 5.0, 9.9):
        window.count(now)
    assert [window.sum(now) for now in (9.9, 10.0, 14.9, 15.0, 18.9, 19.0)] == [4, 2, 2, 1, 1, 0]
    window.count(20.0)
    assert window.sum(10_000.0) == 0
    window.count(10_000.0)
    # A clock that was set back.
    assert window.sum(5.0) == 0
    window.count(5.0)
    window.clear()
    assert window.sum(5.0) == 0


@settings(max_examples=100, deadline=None)
@given(steps=st.lists(st.floats(0, 12), max_size=60), seconds=st.sampled_from([1.0, 10.0, 60.0]))
def test_any_window(steps: list[float], seconds: float) -> None:
    """It counts all of the last nine slots and nothing that is older than the whole."""
    window, times, now = Window(seconds), [], 0.0
    for step in steps:
        now += step
        window.count(now)
        times.append(now)
        total = window.sum(now)
        assert sum(now - each < 0.9 * seconds - 1e-6 for each in times) <= total
        assert total <= sum(now - each <= seconds + 1e-6 for each in times)


def test_the_retry_budget() -> None:
    """A fifth of the calls of the last ten seconds, or ten a second."""
    budget = RetryBudget(RETRY)
    for _ in range(100):
        assert budget.allows(50.0)
        budget.count_retry(50.0)
    assert not budget.allows(50.0)
    for _ in range(504):
        budget.count_call(51.0)
    assert not budget.allows(51.0)
    budget.count_call(51.0)
    assert budget.allows(51.0)
    budget.count_retry(51.0)
    assert not budget.allows(51.0)
    # Ten seconds later those of the first second are forgotten.
    assert budget.allows(60.0)


def test_no_retries_at_all() -> None:
    """The budget can be nothing."""
    budget = RetryBudget(evolve(RETRY, retry_share=0.0, retry_least_per_second=0))
    budget.count_call(1.0)
    assert not budget.allows(1.0)


def test_an_alarm() -> None:
    """Once a minute for each upstream and reason."""
    alarm = Alarm()
    assert alarm.is_due("a", "x", 100.0)
    assert [alarm.is_due("a", "x", 100.0 + seconds) for seconds in (0, 59, 60, 61)] == [
        False,
        False,
        True,
        False,
    ]
    assert alarm.is_due("b", "x", 100.0)
    assert alarm.is_due("a", "y", 100.0)
    for number in range(MAX_REMEMBERED):
        assert alarm.is_due("c", str(number), 100.0)


# Throttling


def test_throttled() -> None:
    """Not before the time it names, and only for that model."""
    circuit = a_circuit()
    circuit.throttled("m", 5.0, 100.0)
    circuit.throttled("m", 1.0, 100.0)
    assert circuit.enter("m", 104.9) is THROTTLED
    assert circuit.wait_seconds("m", 104.0) == 1.0
    assert circuit.enter("other", 104.9) is OPEN
    assert circuit.state("a", 104.0) == UpstreamState("a", "throttled", 1.0, 1, 0)
    assert circuit.enter("m", 105.0) is OPEN
    assert circuit.enter("m", 105.0) is OPEN
    assert circuit.state("a", 105.0) == UpstreamState("a", "well", 0.0, 3, 0)


def test_throttled_for_ever() -> None:
    """It is asked again all the same; and no more models are remembered than there can be."""
    circuit = a_circuit()
    circuit.throttled("m", 1e12, 100.0)
    assert circuit.wait_seconds("m", 100.0) == LONGEST_THROTTLED_SECONDS
    for number in range(MAX_THROTTLED_MODELS):
        circuit.throttled(str(number), 1.0 + number, 100.0)
    # The one whose time would have come first was forgotten.
    assert circuit.enter("0", 100.0) is OPEN
    assert circuit.enter("m", 100.0) is THROTTLED


# Down


def test_failures_close_it_off() -> None:
    """At least five, and at least half of the calls."""
    assert a_circuit(4).enter("m", 100.0) is OPEN
    assert a_circuit(5).enter("m", 100.0) is DOWN
    assert a_circuit(5, calls=10).enter("m", 100.0) is DOWN
    assert a_circuit(5, calls=11).enter("m", 100.0) is OPEN
    circuit = a_circuit(4)
    assert circuit.failed(100.0, probe=False)
    # What was sent before it was down tells nothing new.
    assert not circuit.failed(100.0, probe=False)
    assert circuit.wait_seconds("m", 101.0) == 9.0


def test_old_failures_are_forgotten() -> None:
    """Ten seconds later four of them are none."""
    circuit = a_circuit(4)
    assert not circuit.failed(111.0, probe=False)
    assert circuit.enter("m", 111.0) is OPEN


def test_the_probe() -> None:
    """One call after ten seconds; the time doubles to five minutes while it fails."""
    circuit, now, waits = a_circuit(5), 100.0, []
    for _ in range(8):
        wait = circuit.wait_seconds("m", now)
        waits.append(wait)
        assert circuit.enter("m", now + wait - 0.1) is DOWN
        now += wait
        assert circuit.enter("m", now) is PROBE
        assert circuit.enter("m", now) is DOWN
        assert circuit.state("a", now).state == "probing"
        assert not circuit.failed(now, probe=True)
        assert circuit.state("a", now).state == "down"
    assert waits == [10.0, 20.0, 40.0, 80.0, 160.0, 300.0, 300.0, 300.0]
    assert circuit.enter("m", now + 300) is PROBE
    circuit.answered()
    assert [circuit.enter("m", now + 300) for _ in range(3)] == [OPEN] * 3
    for _ in range(5):
        circuit.failed(now + 300, probe=False)
    assert circuit.wait_seconds("m", now + 300) == 10.0


def test_a_probe_whose_caller_leaves() -> None:
    """The next call is the probe."""
    circuit = a_circuit(5)
    assert circuit.enter("m", 110.0) is PROBE
    circuit.gave_up()
    assert circuit.enter("m", 110.0) is PROBE


def test_a_probe_that_hangs() -> None:
    """It keeps its place for as long as the wait was."""
    circuit = a_circuit(5)
    assert circuit.enter("m", 110.0) is PROBE
    assert circuit.enter("m", 119.9) is DOWN
    assert circuit.wait_seconds("m", 118.0) == 2.0
    assert circuit.enter("m", 120.0) is PROBE


def test_throttled_and_down() -> None:
    """Both have to pass; a probe that is throttled is an answer."""
    circuit = a_circuit(5)
    circuit.throttled("m", 15.0, 100.0)
    assert circuit.enter("m", 112.0) is THROTTLED
    assert circuit.enter("", 112.0) is PROBE
    circuit.answered()
    assert circuit.enter("m", 112.0) is THROTTLED
    assert circuit.enter("m", 115.0) is OPEN


def test_the_table() -> None:
    """One for each upstream, made when it is asked first."""
    circuits = Circuits(RETRY)
    assert circuits.states(100.0) == ()
    assert circuits.of("a") is circuits.of("a")
    circuits.of("b").enter("m", 100.0)
    assert [state.name for state in circuits.states(100.0)] == ["a", "b"]


@settings(max_examples=100, deadline=None)
@given(
    steps=st.lists(
        st.tuples(st.floats(0, 20), st.sampled_from(["ok", "fail", "throttle", "leave"])),
        max_size=80,
    )
)
def test_whatever_happens(steps: list[tuple[float, str]]) -> None:
    """Never more than one probe at a time, and whoever waits as long as is asked is let in."""
    circuit, now = Circuit(RETRY), 0.0
    for step, what in steps:
        now += step
        entry = circuit.enter("m", now)
        if entry in (THROTTLED, DOWN):
            wait = circuit.wait_seconds("m", now)
            assert 0 < wait <= LONGEST_THROTTLED_SECONDS
            now += wait + 1e-6
            entry = circuit.enter("m", now)
        assert entry in (OPEN, PROBE)
        if entry is PROBE:
            assert circuit.enter("m", now) is DOWN
        if what == "fail":
            circuit.failed(now, probe=entry is PROBE)
        elif entry is PROBE:
            circuit.gave_up() if what == "leave" else circuit.answered()
        if what == "throttle":
            circuit.throttled("m", 7.0, now)
        assert circuit.state("a", now).seconds >= 0


def test_what_is_known_is_taken_over() -> None:
    """Of the upstreams that stay what they were, as far as anything is known of them."""
    before, after = Circuits(RETRY), Circuits(RETRY)
    known = before.of("a")
    before.of("b")
    after.take_over(before, ("a", "c"))
    assert after.of("a") is known
    assert after.of("b") is not before.of("b")
