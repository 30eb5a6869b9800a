"""The routes by which a test commands the sandbox; every stand-in has them below /sandbox/.

===========================  =====================================================
``POST /sandbox/faults``     adds faults: a list of objects with the keys of `Fault`
``GET /sandbox/faults``      those that still wait
``DELETE /sandbox/faults``   forgets them
``GET /sandbox/requests``    what was received by all roles, the last thousand
``DELETE /sandbox/requests`` forgets them
``GET /sandbox/state``       counts for each role
``DELETE /sandbox/state``    begins the counts anew
===========================  =====================================================

Pure: imports nothing of Twisted.
"""

from __future__ import annotations

from gptproxy.sandbox.faults import FaultBook, parse_faults
from gptproxy.sandbox.ledger import Ledger
from gptproxy.sandbox.messages import Call, Reply, parse_json, write_json

__all__ = ["control_answer", "is_control"]


def is_control(call: Call) -> bool:
    """:return: whether the call is for the sandbox itself and not for a service."""
    return call.path.startswith("/sandbox/")


def _json(value: object, status: int = 200) -> Reply:
    return Reply(status, (("Content-Type", "application/json"),), write_json(value))


def control_answer(call: Call, book: FaultBook, ledger: Ledger) -> Reply:
    """
    :param call: one for which `is_control` holds.
    :param book: the faults that wait.
    :param ledger: what was received and sent.
    :return: the answer: 200 with the state after the command, 400 for a fault that is none,
        404 for a route that is none.
    """
    command = (call.method, call.path.removeprefix("/sandbox/"))
    if command == ("POST", "faults"):
        try:
            book.add(parse_faults(parse_json(call.body)))
        except ValueError as error:
            return _json({"error": str(error)}, 400)
    elif command == ("DELETE", "faults"):
        book.clear()
    elif command == ("DELETE", "requests"):
        ledger.forget()
    elif command == ("DELETE", "state"):
        ledger.reset()
    elif command[0] != "GET" or command[1] not in ("faults", "requests", "state"):
        return _json({"error": f"no such command: {call.method} {call.path}"}, 404)
    if command[1] == "faults":
        return _json(book.listed())
    return _json(ledger.requests() if command[1] == "requests" else ledger.state())
