"""The sandbox's memory and its control routes."""

from __future__ import annotations

import base64
import json

import pytest

from gptproxy.sandbox.control import control_answer, is_control
from gptproxy.sandbox.faults import ROLES, FaultBook
from gptproxy.sandbox.ledger import Ledger
from gptproxy.sandbox.messages import Call


def _call(body: bytes = b"", number: int = 1) -> Call:
    return Call("openai", "POST", "/v1/files?a=b", {}, (("x-a", "1"), ("x-a", "2")), body, number)


def test_requests_are_kept_as_they_came() -> None:
    """Method, target, repeated headers, the body as text or base64."""
    ledger = Ledger()
    ledger.record(_call("grüße".encode()))
    ledger.record(_call(b"\xff\x00"))
    text, binary = ledger.requests()
    assert (text["method"], text["target"]) == ("POST", "/v1/files?a=b")
    assert text["headers"] == [["x-a", "1"], ["x-a", "2"]]
    assert (text["body"], text["body_encoding"], text["body_bytes"]) == ("grüße", "text", 7)
    assert binary["body_encoding"] == "base64"
    assert base64.b64decode(binary["body"]) == b"\xff\x00"
    assert not binary["body_truncated"]


def test_memory_is_bounded() -> None:
    """A thousand requests, a megabyte of each, 64 megabytes of all."""
    ledger = Ledger()
    for number in range(1005):
        ledger.record(_call(number=number))
    assert [ledger.requests()[0]["number"], len(ledger.requests())] == [5, 1000]
    large = b"x" * (2**20 + 1)
    for _ in range(70):
        ledger.record(_call(large))
    kept = ledger.requests()
    assert len(kept) == 64
    assert (len(kept[0]["body"]), kept[0]["body_bytes"]) == (2**20, 2**20 + 1)
    assert kept[0]["body_truncated"]


def test_control_commands() -> None:
    """Each command answers with the state that it leaves."""
    book, ledger = FaultBook(), Ledger()

    def command(method: str, name: str, body: object = None) -> tuple[int, object]:
        call = Call("azure", method, f"/sandbox/{name}", {}, (), json.dumps(body).encode())
        assert is_control(call)
        reply = control_answer(call, book, ledger)
        return reply.status, json.loads(reply.body)

    ledger.record(_call())
    ledger.counts("openai").open_streams = 1
    status, faults = command("POST", "faults", [{"role": "openai", "fault": "hang"}])
    assert status == 200
    assert isinstance(faults, list)
    assert faults[0]["fault"] == "hang"
    assert command("GET", "faults") == (200, faults)
    assert command("DELETE", "faults") == (200, [])
    assert command("POST", "faults", 5)[0] == 400
    assert len(ledger.requests()) == 1
    assert command("GET", "requests") == (200, ledger.requests())
    assert command("DELETE", "requests") == (200, [])
    status, state = command("GET", "state")
    assert isinstance(state, dict)
    assert set(state) == set(ROLES)
    none = {"requests": 0, "open_streams": 1, "left_early": 0, "bytes_written": 0}
    assert state["openai"] == {**none, "requests": 1}
    _, state = command("DELETE", "state")
    assert isinstance(state, dict)
    assert state["openai"] == none


@pytest.mark.parametrize(("method", "name"), [("PUT", "faults"), ("GET", "x"), ("POST", "state")])
def test_other_commands_are_unknown(method: str, name: str) -> None:
    """404 in JSON."""
    call = Call("azure", method, f"/sandbox/{name}")
    assert control_answer(call, FaultBook(), Ledger()).status == 404
    assert not is_control(Call("azure", "GET", "/sandboxed"))
