"""Faults on demand: what can be asked for, and which request gets which.

A test asks by ``POST /sandbox/faults``; a person by a word in the last message, such as
``sandbox:429``.

Pure: imports nothing of Twisted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from attrs import asdict, evolve, field, frozen

from gptproxy.sandbox.answers import last_user_text, text_of
from gptproxy.sandbox.messages import Call, JsonObject

__all__ = ["FAULTS", "ROLES", "WORDS", "Fault", "FaultBook", "parse_faults", "word_fault"]

ROLES = ("openai", "azure", "azure_secondary", "gitlab")

_CONNECTION = frozenset(
    {
        "hang",
        "malformed_head",
        "reset_after_head",
        "reset_before_head",
        "slow_answer",
        "split_bytes",
        "status",
        "status_401",
        "status_429",
        "status_500",
        "status_503",
    }
)
_MODELS = _CONNECTION | {
    "content_filter",
    "cut_stream",
    "deployment_not_found",
    "error_event_in_stream",
    "filtered_output",
    "filtered_stream",
    "hang_after_events",
    "huge_stream",
    "quota_exhausted",
    "response_failed",
    "slow_events",
    "status_403_blocked_resource",
}
_AZURE = _MODELS | {"async_filter_stream", "content_filter_error_200", "timeout_408"}
_GITLAB = _CONNECTION | {"garbage_200", "html_200", "html_502", "redirect_302"}

#: Which faults a role knows.
FAULTS: Mapping[str, frozenset[str]] = MappingProxyType(
    {"openai": _MODELS, "azure": _AZURE, "azure_secondary": _AZURE, "gitlab": _GITLAB}
)

#: The words for people, and the fault that each stands for.
WORDS: Mapping[str, str] = MappingProxyType(
    {
        "content-filter": "content_filter",
        "filtered-output": "filtered_output",
        "429": "status_429",
        "500": "status_500",
        "slow": "slow_events",
        "cut": "cut_stream",
    }
)
_WORD = re.compile(rf"\bsandbox:({'|'.join(WORDS)})(-everywhere)?\b")

_FAULTS_AT_ONCE = 1000  # far more than a test can need; a loop that forgets to clear meets it


@frozen
class Fault:
    """One fault that waits for its requests.

    :param role: the stand-in that it strikes.
    :param fault: its name, one of `FAULTS`.
    :param times: how many requests it strikes; None until it is cleared.
    :param route: how the path of those requests ends; None for all.
    :param retry_after: seconds named by a 429 or 503; None sends no such field.
    :param status: the status of the fault named ``status``.
    :param body: its body: a text, or a JSON value. Of error_event_in_stream and response_failed
        the error object, where it is not to be a server_error.
    :param content_type: and its type.
    :param headers: its further header fields, as pairs.
    :param after_events: how many events (text chunks, for filters) come before the fault.
    :param delay_seconds: the wait of slow_answer and slow_events.
    :param megabytes: the size of huge_stream.
    :param size: the bytes of one piece of split_bytes.
    :param head: what malformed_head sends.
    :param spelling: how content_filter spells the inner error: wire, spec or bare.
    :param filtered: whether async_filter_stream finds a violation.
    """

    role: str
    fault: str
    times: int | None = 1
    route: str | None = None
    retry_after: float | None = 1.0
    status: int = 500
    body: Any = field(default="", repr=False)
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()
    after_events: int | None = None
    delay_seconds: float = 0.2
    megabytes: float = 64.0
    size: int = 1
    head: str = "NONSENSE this is not HTTP\r\n\r\n"
    spelling: str = "wire"
    filtered: bool = True


_INTEGER = (int,)
_NUMBER = (int, float)
_TYPES: Mapping[str, tuple[type, ...]] = {
    "role": (str,),
    "fault": (str,),
    "times": (int, type(None)),
    "route": (str, type(None)),
    "retry_after": (int, float, type(None)),
    "status": _INTEGER,
    "body": (str, int, float, bool, list, dict, type(None)),
    "content_type": (str,),
    "headers": (list,),
    "after_events": (int, type(None)),
    "delay_seconds": _NUMBER,
    "megabytes": _NUMBER,
    "size": _INTEGER,
    "head": (str,),
    "spelling": (str,),
    "filtered": (bool,),
}


def _parse(entry: object) -> Fault:
    if not isinstance(entry, dict):
        raise ValueError("each fault is a JSON object")
    for name, value in entry.items():
        types = _TYPES.get(name)
        if types is None:
            raise ValueError(f"{name!r} is not a key of a fault: {', '.join(_TYPES)}")
        if type(value) not in types:
            raise ValueError(f"{name!r} of a fault cannot be a {type(value).__name__}")
    role, fault = str(entry.get("role")), str(entry.get("fault"))
    if role not in FAULTS:
        raise ValueError(f"{role!r} is not a role: {', '.join(ROLES)}")
    if fault not in FAULTS[role]:
        raise ValueError(f"{fault!r} is not a fault of {role}: {', '.join(sorted(FAULTS[role]))}")
    headers = entry.get("headers", [])
    pairs = tuple(tuple(pair) for pair in headers if isinstance(pair, list))
    if len(pairs) < len(headers) or not all(
        len(pair) == 2 and all(isinstance(text, str) for text in pair) for pair in pairs
    ):
        raise ValueError("'headers' of a fault is a list of pairs of text")
    for name in ("times", "after_events", "delay_seconds", "megabytes", "size", "retry_after"):
        value = entry.get(name)
        if value is not None and value < 0:
            raise ValueError(f"{name!r} of a fault cannot be negative")
    if entry.get("size") == 0 or not 200 <= entry.get("status", 200) <= 599:
        raise ValueError("'size' begins at 1; 'status' is 200 to 599")
    return Fault(**{**entry, "headers": pairs})


def parse_faults(value: object) -> list[Fault]:
    """
    :param value: the JSON value of POST /sandbox/faults: a list of objects, or one object.
    :return: the faults.
    :raise ValueError: where one is not a fault; the message names what is wrong.
    """
    return [_parse(entry) for entry in (value if isinstance(value, list) else [value])]


class FaultBook:
    """The faults that are waiting, in the order in which they were asked for."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []

    def add(self, faults: list[Fault]) -> None:
        """
        :param faults: wait behind those that are there.
        :raise ValueError: where too many would wait.
        """
        if len(self._faults) + len(faults) > _FAULTS_AT_ONCE:
            raise ValueError(f"more than {_FAULTS_AT_ONCE} faults are waiting")
        self._faults += [fault for fault in faults if fault.times != 0]

    def clear(self) -> None:
        """Forget all."""
        self._faults.clear()

    def listed(self) -> list[JsonObject]:
        """:return: those that still wait, as JSON objects."""
        return [asdict(fault) for fault in self._faults]

    def take(self, role: str, path: str) -> Fault | None:
        """
        :param role: who received a request.
        :param path: its path.
        :return: the first fault for it, counted down and gone after its last time; or None.
        """
        for index, fault in enumerate(self._faults):
            if fault.role == role and (fault.route is None or path.endswith(fault.route)):
                if fault.times == 1:
                    del self._faults[index]
                elif fault.times is not None:
                    self._faults[index] = evolve(fault, times=fault.times - 1)
                return fault
        return None


def word_fault(call: Call, request: JsonObject) -> Fault | None:
    """
    The secondary keeps well, so that a person sees the switch to it; a word that ends in
    ``-everywhere`` strikes it too.

    :param call: a call of a completion.
    :param request: its body.
    :return: the fault that the last message of the user (or the prompt) asks for, or None.
    """
    messages = request.get("messages")
    if isinstance(messages, list):
        text = last_user_text([message for message in messages if isinstance(message, dict)])
    else:
        text = text_of(request.get("prompt"))
    found = _WORD.search(text)
    if found is None or (call.role == "azure_secondary" and not found[2]):
        return None
    if found[1] == "content-filter" and call.role == "openai":
        return None  # OpenAI's own interface has no such filter
    return Fault(call.role, WORDS[found[1]])
