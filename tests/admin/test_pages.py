"""Tests of :mod:`gptproxy.admin`."""

from __future__ import annotations

import orjson
import pytest
from twisted.web.resource import Resource

from gptproxy.admin import Condition, Health, HealthPage, ReadinessPage, State, admin_tree
from tests.http.serving import Answer, Client


def ask(root: Resource, target: bytes, method: bytes = b"GET") -> Answer:
    client = Client(root)
    client.send(b"%b %b HTTP/1.1\r\nHost: x\r\n\r\n" % (method, target))
    (answer,) = client.answers(method)
    return answer


def health_with(*states: State) -> Health:
    health = Health()
    for number, state in enumerate(states):
        condition = Condition(f"probe {number}", state, f"detail {number}")
        health.add(lambda condition=condition: condition)  # type: ignore[misc]  # one for each turn
    return health


def tree(health: Health | None = None) -> Resource:
    return admin_tree(health or Health(), lambda: b"figure 1\n", lambda: {"calls": 3})


def test_the_loop_turns() -> None:
    """/healthz is 200 however the rest is, and no cache keeps it."""
    answer = ask(tree(health_with(State.FAILED)), b"/healthz")
    assert (answer.status, answer.body) == (200, b'{"status":"ok"}')
    assert answer.headers[b"cache-control"] == b"no-store"


@pytest.mark.parametrize(
    ("states", "status"),
    [
        ((), 200),
        ((State.GOOD, State.WARNING), 200),
        ((State.GOOD, State.FAILED, State.WARNING), 503),
    ],
)
def test_readiness(states: tuple[State, ...], status: int) -> None:
    """Ready unless a probe has failed; a warning is none. Details stand on the admin listener alone."""
    health = health_with(*states)
    answer = ask(tree(health), b"/readyz")
    assert answer.status == status
    said = orjson.loads(answer.body)
    assert said["status"] == ("ready" if status == 200 else "not ready")
    assert [each["state"] for each in said["conditions"]] == [
        state.name.lower() for state in states
    ]
    public = Resource()
    public.putChild(b"readyz", ReadinessPage(health, details=False))
    public.putChild(b"healthz", HealthPage())
    answer = ask(public, b"/readyz")
    assert answer.status == status
    assert list(orjson.loads(answer.body)) == ["status"]


def test_metrics_and_status() -> None:
    """Each in its own form."""
    answer = ask(tree(), b"/metrics")
    assert answer.headers[b"content-type"].startswith(b"text/plain; version=0.0.4")
    assert answer.body == b"figure 1\n"
    assert orjson.loads(ask(tree(), b"/status").body) == {"calls": 3}
    assert ask(tree(), b"/status", b"HEAD").body == b""


def test_what_there_is() -> None:
    """The root lists the pages, and so does the 404 for everything else."""
    answer = ask(tree(), b"/")
    assert (answer.status, answer.body) == (200, b"/healthz\n/readyz\n/metrics\n/status\n")
    assert ask(tree(), b"/v1/models").status == 404


def test_pages_are_read_only() -> None:
    """Other methods are told so."""
    answer = ask(tree(), b"/metrics", b"DELETE")
    assert (answer.status, answer.headers[b"allow"]) == (405, b"GET, HEAD")
