"""
What stands around the API room in its tests: a caller of either Site, and stand-ins for the rooms below.

A stand-in has the same members as what it stands for; ``test_rig`` holds it to that.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import orjson
from attrs import evolve
from twisted.internet.defer import Deferred, fail, maybeDeferred, succeed
from twisted.internet.task import Clock
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import ResponseDone
from twisted.web.http_headers import Headers
from twisted.web.resource import Resource

from gptproxy.access import Caller
from gptproxy.access.authenticator import Stranger
from gptproxy.api import (
    ROUTES,
    Endpoint,
    Exchange,
    ModelCall,
    Objects,
    Operation,
    Route,
    Turns,
    refusal_page,
)
from gptproxy.config import Secret, Settings, TLSSettings, UpstreamSettings, parse_azure_key
from gptproxy.http import Response
from gptproxy.http.flow import ReadSide
from gptproxy.http.grammar import ResponseHead
from gptproxy.http.response import BodyTransport, ClientRequest
from gptproxy.logs.access import NAMESPACE
from gptproxy.ownership import ObjectTable, Ownership
from gptproxy.threads import TooBusy
from gptproxy.upstream import Call, HeldAnswer, Model, Target, UpstreamAnswer
from tests.http.memory import MemoryTransport
from tests.http.serving import Answer, Client

CANARY = "canary-8c1f"
"""Stands in every body, query and credential; no log may have it."""

UPSTREAM = UpstreamSettings(
    name="primary",
    kind="azure",
    url="https://gpt1.openai.azure.com",
    api_key=Secret("azure-key"),
    deployments={"gpt-4": "gpt-4-eu"},
)
SETTINGS = Settings(
    source="gptproxy.toml", tls=TLSSettings(Path("c.pem"), Path("k.pem")), upstreams=(UPSTREAM,)
)
ALICE = Caller("gitlab", "alice")
OWN = Caller("azure_key", "gpt9", parse_azure_key(f"gpt9:own-model|own-deployment:{CANARY}"))


def small(body_bytes: int) -> Settings:
    """:return: settings with a small bound on bodies."""
    return evolve(SETTINGS, limits=evolve(SETTINGS.limits, body_bytes=body_bytes))


class Access:
    """In an Authenticator's place: says what it is given, at once or when the test says."""

    def __init__(self, verdict: Caller | Exception | Deferred[Caller] = ALICE) -> None:
        self.verdict = verdict
        self.asked = 0

    def look_up(self, fields: Iterable[tuple[bytes, bytes]]) -> Caller | Stranger:
        self.asked += 1
        if isinstance(self.verdict, Exception):
            raise self.verdict
        if isinstance(self.verdict, Deferred):
            return Stranger(b"", Secret("a stranger's"))
        return self.verdict

    async def ask_about(self, stranger: Stranger, address: str = "") -> Caller:
        assert isinstance(self.verdict, Deferred)
        return await self.verdict


class Sending:
    """In a Sender's place."""

    def __init__(
        self, answer: UpstreamAnswer | Exception | Deferred[UpstreamAnswer] | None = None
    ) -> None:
        self.answer = answer or held(200, b'{"object":"chat.completion"}')
        self.calls: list[tuple[Call, tuple[Target, ...], bool, str]] = []

    async def send(
        self, call: Call, targets: Sequence[Target], *, own_key: bool, request_id: str
    ) -> UpstreamAnswer:
        self.calls.append((call, tuple(targets), own_key, request_id))
        if isinstance(self.answer, Exception):
            raise self.answer
        if isinstance(self.answer, Deferred):
            return await self.answer
        return self.answer


class Listing:
    """In a ModelList's place."""

    def __init__(self, *models: Model) -> None:
        self._models = list(models)
        self.configured = frozenset(model.name for model in models)

    async def models(self) -> list[Model]:
        return self._models


class AtOnce:
    """In the place of threads: what they run is run when it is asked for, unless they are ``busy``."""

    def __init__(self) -> None:
        self.busy = False

    def run(self, f, *args, **kwargs) -> Deferred[object]:
        if self.busy:
            return fail(TooBusy("busy"))
        return maybeDeferred(f, *args, **kwargs)

    def startService(self) -> None:
        self.busy = False

    def stopService(self) -> Deferred[None]:
        return succeed(None)


def objects(clock: Clock, threads: AtOnce | None = None) -> Objects:
    """:return: an empty table of stored objects, in memory; whoever takes it closes ``ownership``."""
    table = ObjectTable(Path(":memory:"))
    return Objects(Ownership(table, threads or AtOnce(), clock.seconds), Turns(clock))


def route(path: str) -> Route:
    """:return: the table's row."""
    return next(each for each in ROUTES if each.path == path)


def operation(path: str, method: bytes = b"POST") -> Operation:
    """:return: one method of the table's row."""
    return next(each for each in route(path).operations if each.method == method)


def model_call(
    path: str, clock: Clock, *rooms: object, augmenter: object = None, **options: object
) -> ModelCall:
    """:return: the endpoint of a route whose body names a model, as the daemon makes it."""
    call = ModelCall(route(path), operation(path), clock, *rooms, **options)
    call.augmenter = augmenter
    return call


class Upstream:
    """
    An upstream's live answer, driven by a test.

    :ivar response: what the relay gets.
    :ivar dropped: the answer's connection was given up.
    """

    def __init__(self, *fields: tuple[bytes, bytes], length: int | None = None) -> None:
        self.dropped = 0
        self.transport = MemoryTransport()
        body = BodyTransport(ReadSide(self.transport), self._drop)
        request = ClientRequest(b"POST", b"https://up/", Headers())
        self.response = Response(ResponseHead(200, b"OK", 1, fields), length, request, body)
        self.answer = UpstreamAnswer("primary", 2, self.response, fields)

    def _drop(self) -> None:
        self.dropped += 1

    def say(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.response.body_piece(piece)

    def end(self, error: Exception | None = None) -> None:
        self.response.body_ended(Failure(error or ResponseDone()))


def held(status: int, body: bytes, *fields: tuple[bytes, bytes]) -> UpstreamAnswer:
    """:return: an answer that was read to its end."""
    fields = fields or ((b"content-type", b"application/json"),)
    return UpstreamAnswer("primary", 3, HeldAnswer(status, fields, body), fields)


class Answering(Endpoint):
    """An endpoint that does as a test says."""

    methods = (b"GET", b"POST", b"HEAD")

    def __init__(self, clock: Clock, act: object) -> None:
        super().__init__("/acting", clock)
        self._act = act
        self.exchanges: list[Exchange] = []

    async def answer(self, exchange: Exchange) -> None:
        self.exchanges.append(exchange)
        result = self._act(exchange)
        if isinstance(result, Deferred) or result is not None:
            await result


class Visitor:
    """One client of our own Site in memory, for requests one after the other."""

    def __init__(self, root: Resource) -> None:
        self.client = Client(root, refusal_page=refusal_page)
        self.method = b"GET"

    def ask(
        self,
        method: str,
        target: str,
        body: bytes | None = None,
        *fields: str,
        version: str = "1.1",
    ) -> None:
        """Send a request."""
        self.method = method.encode()
        head = [f"{method} {target} HTTP/{version}", "host: h", *fields]
        if body is not None:
            head.append(f"content-length: {len(body)}")
        self.client.send("\r\n".join([*head, "", ""]).encode() + (body or b""))

    def answer(self) -> Answer:
        return self.client.answer(self.method)

    @property
    def sent(self) -> bytes:
        """What has come and was not taken."""
        self.client.transport.settle()
        return self.client.transport.sent

    def leave(self) -> None:
        self.client.transport.leave()


def error_of(answer: Answer) -> dict[str, object]:
    """:return: what an error says, which has OpenAI's form and the headers of every error."""
    assert answer.headers[b"content-type"] == b"application/json", answer.headers
    assert answer.headers[b"x-gptproxy-request-id"], answer.headers
    content = orjson.loads(answer.body)
    assert list(content) == ["error"]
    assert set(content["error"]) == {"message", "type", "param", "code"}
    return content["error"]


class LoggedTestCase(SynchronousTestCase):
    """Gathers what is logged, and sees at the end that the canary is nowhere in it."""

    def setUp(self) -> None:
        self.events: list[LogEvent] = []
        globalLogPublisher.addObserver(self.events.append)
        self.addCleanup(self._check_log)

    def _check_log(self) -> None:
        globalLogPublisher.removeObserver(self.events.append)
        for event in self.events:
            told = formatEvent(event) + repr({k: v for k, v in event.items() if k != "log_source"})
            self.assertNotIn(CANARY, told)

    def access_lines(self) -> list[LogEvent]:
        """:return: those of the access log."""
        return [event for event in self.events if event.get("log_namespace") == NAMESPACE]

    def access_line(self) -> LogEvent:
        """:return: the only one."""
        (line,) = self.access_lines()
        formatEvent(line)
        return line

    def tokens(self) -> tuple[object, object]:
        """:return: in and out, as the only line says."""
        line = self.access_line()
        return line["tokens_in"], line["tokens_out"]

    def failures(self) -> list[LogEvent]:
        """:return: failures that were logged; trial has its own list of them."""
        return [event for event in self.events if "log_failure" in event]


def chat(model: str = "gpt-4", **more: object) -> bytes:
    """:return: a chat's body."""
    messages = [{"role": "user", "content": CANARY}]
    return orjson.dumps({"model": model, "messages": messages, **more})


__all__ = [
    "ALICE",
    "CANARY",
    "OWN",
    "SETTINGS",
    "Access",
    "Answering",
    "AtOnce",
    "Listing",
    "LoggedTestCase",
    "Sending",
    "Upstream",
    "Visitor",
    "chat",
    "error_of",
    "held",
    "model_call",
    "objects",
    "operation",
    "route",
    "small",
]
