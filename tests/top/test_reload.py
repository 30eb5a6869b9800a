"""One configuration after the other, and the end, on a reactor in memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from attrs import evolve
from twisted.application.service import IService
from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from gptproxy.config import (
    ConfigurationError,
    Problem,
    ProcessSettings,
    Secret,
    Settings,
    settings_from,
)
from gptproxy.daemon import daemon
from gptproxy.process import ReloadOnHangup
from gptproxy.reloading import unchanged_by_reload
from tests.http.memory import MemoryTransport
from tests.http.serving import Answer, read_answer
from tests.top.rig import folder_of
from tests.top.test_daemon import DOCUMENT, TOKEN, Reactor, request

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
OTHER_TOKEN = "sk-other-token-0123456789"


class Pool:
    """Threads that are none."""

    def callInThreadWithCallback(
        self, told: Callable[[bool, object], None], work: Callable[..., object], *args: object
    ) -> None:
        from twisted.python.failure import Failure

        try:
            told(True, work(*args))
        except Exception:  # noqa: BLE001 - as a pool does
            told(False, Failure())


class ThreadedReactor(Reactor):
    """One with such threads."""

    def getThreadPool(self) -> Pool:
        return Pool()

    def callFromThread(self, call: Callable[..., object], *args: object) -> None:
        call(*args)


class SteeredTests(SynchronousTestCase):
    """The daemon while it runs."""

    def setUp(self) -> None:
        self.folder = folder_of(self)
        self.reactor = ThreadedReactor()
        self.fresh: Settings | None = None
        self.service = daemon(self.settings(), ("tcp:8480",), self.reactor, None, load=self.load)
        self.service.privilegedStartService()
        self.service.startService()
        self.addCleanup(lambda: self.service.running and self.service.stopService())

    def settings(self, token: str = TOKEN, **changes: object) -> Settings:
        tokens = [{"user_id": "user1", "token": token}]
        document = {**DOCUMENT, "topic": [], "user_token": tokens, **changes}
        document = {k: v for k, v in document.items() if v is not None}
        return settings_from(document, source="g.toml", directory=self.folder, environ={})

    def load(self) -> Settings:
        if self.fresh is None:
            raise ConfigurationError([Problem("g.toml", "gitlab", "is no GitLab")])
        return self.fresh

    def reload(self) -> str:
        """:return: the last line of the log."""

        def found(service: IService) -> ReloadOnHangup | None:
            for child in service:  # type: ignore[attr-defined]  # a MultiService
                if isinstance(child, ReloadOnHangup):
                    return child
                if hasattr(child, "__iter__") and (below := found(child)) is not None:
                    return below
            return None

        reloading = found(self.service)
        assert reloading is not None
        with capturedLogs() as events:
            reloading.reload()
        return [formatEvent(event) for event in events][-1]

    def connect(self) -> MemoryTransport:
        (_, factory, _, _) = self.reactor.tcpServers[0]
        transport = MemoryTransport()
        transport.connect(factory.buildProtocol(None))
        return transport

    def upstream(self, number: int = -1) -> MemoryTransport:
        (_, _, factory, _, _) = self.reactor.tcpClients[number]
        transport = MemoryTransport()
        transport.connect(factory.buildProtocol(None))
        return transport

    def answer(self, client: MemoryTransport, *, closed: bool = False) -> Answer:
        client.settle()
        return read_answer(client.take(), b"POST", closed=closed)[0]

    def advance(self, seconds: float) -> None:
        for _ in range(int(seconds / 0.05)):
            self.reactor.advance(0.05)

    def test_another_configuration(self) -> None:
        """Holds for the next request, on a kept connection too; a call under way ends by the one before."""
        running, kept = self.connect(), self.connect()
        running.deliver(request("/v1/chat/completions"))
        upstream = self.upstream()
        before = self.service.serving  # type: ignore[attr-defined]  # the daemon's own
        self.fresh = self.settings(OTHER_TOKEN)
        self.assertEqual(self.reload(), "reloaded")
        after = self.service.serving  # type: ignore[attr-defined]  # likewise
        self.assertIsNot(before, after)
        # What is known of the upstreams, and whose objects are, is known on.
        self.assertIs(before.model_list, after.model_list)
        self.assertIs(before._objects, after._objects)
        kept.deliver(request("/v1/chat/completions"))
        self.assertEqual(self.answer(kept).status, 401)
        upstream.deliver(ANSWER)
        self.assertEqual(self.answer(running).status, 200)
        self.assertEqual(before.gate.running, {})
        self.assertTrue(after._objects.value.ownership.running)
        running.deliver(request("/v1/chat/completions", token=OTHER_TOKEN))
        upstream.settle()
        # On the connection that was kept.
        self.assertEqual(len(self.reactor.tcpClients), 1)
        upstream.deliver(ANSWER)
        self.assertEqual(self.answer(running).status, 200)

    def test_what_is_not_shared(self) -> None:
        """Stops with the last call of the configuration that had it."""
        client = self.connect()
        client.deliver(request("/v1/chat/completions"))
        before = self.service.serving._objects.value.ownership  # type: ignore[attr-defined]  # the daemon's own
        self.fresh = self.settings(access={"objects": "other.db"})
        self.assertEqual(self.reload(), "reloaded")
        self.assertTrue(before.running)
        self.assertTrue((self.folder / "other.db").exists())
        self.upstream().deliver(ANSWER)
        client.settle()
        self.assertFalse(before.running)

    def test_a_broken_one(self) -> None:
        """Changes nothing, and says why in one line."""
        before = self.service.serving  # type: ignore[attr-defined]  # the daemon's own
        line = self.reload()
        self.assertIn("everything stays as it was: g.toml: gitlab: is no GitLab", line)
        # Read, but of no use.
        self.fresh = self.settings(
            access={"objects": "other.db"},
            topic=DOCUMENT["topic"],
            knowledge={"database": "knowledge.db", "embedding_model": "ada-9"},
        )
        self.assertIn("ada-9", self.reload())
        self.assertIs(self.service.serving, before)  # type: ignore[attr-defined]  # likewise
        client = self.connect()
        client.deliver(request("/v1/chat/completions"))
        self.assertIn(b"sk-upstream", self.upstream().take())
        client.leave()

    def test_bounds(self) -> None:
        """Are the new ones, on the site as well."""
        self.fresh = self.settings(
            limits={"header_bytes": 4096, "connections": 7, "caller": {"concurrent_calls": 1}},
            timeouts={"header_seconds": 7},
        )
        self.reload()
        (_, site, _, _) = self.reactor.tcpServers[0]
        self.assertEqual((site.header_limit_bytes, site.timeouts.header), (4096, 7))
        self.assertEqual(site.connection_limit.connections, 7)
        first, second = self.connect(), self.connect()
        for client in (first, second):
            client.deliver(request("/v1/chat/completions"))
        self.assertEqual(self.answer(second).status, 429)
        first.leave()
        second.deliver(request("/v1/chat/completions"))
        self.assertEqual(len(self.reactor.tcpClients), 2)
        second.leave()

    def stopping(self, seconds: float) -> Deferred[None]:
        self.fresh = self.settings(process={"drain_seconds": seconds})
        self.reload()
        return self.service.stopService()  # type: ignore[return-value]  # the daemon's is a Deferred

    def test_the_end(self) -> None:
        """Waits for the call under way, by whichever configuration, and then it is over."""
        client = self.connect()
        client.deliver(request("/v1/chat/completions"))
        upstream = self.upstream()
        stopped = self.stopping(30.0)
        self.advance(10)
        self.assertNoResult(stopped)
        upstream.deliver(ANSWER)
        answer = self.answer(client, closed=True)
        self.assertEqual((answer.status, answer.headers[b"connection"]), (200, b"close"))
        client.leave()
        self.advance(0.1)
        self.successResultOf(stopped)
        upstream.settle()
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.fresh = self.settings()

    def test_the_end_of_patience(self) -> None:
        """Calls that are still under way get 503."""
        client = self.connect()
        client.deliver(request("/v1/chat/completions"))
        upstream = self.upstream()
        stopped = self.stopping(5.0)
        self.advance(5.1)
        answer = self.answer(client, closed=True)
        self.assertEqual((answer.status, answer.headers[b"connection"]), (503, b"close"))
        self.assertIn(b"gateway_stopped", answer.body)
        client.leave()
        self.advance(0.1)
        self.successResultOf(stopped)
        upstream.settle()
        self.assertIsNotNone(upstream.lost)

    def test_a_stream_at_the_end_of_patience(self) -> None:
        """Ends with an error event; hurried, at once."""
        client = self.connect()
        body = b'{"model":"gpt-4","stream":true,"messages":[]}'
        client.deliver(request("/v1/chat/completions", body))
        upstream = self.upstream()
        upstream.deliver(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
            b'36\r\ndata: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n\r\n'.replace(
                b"36", b"%x" % len(b'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n')
            )
        )
        client.settle()
        stopped = self.stopping(5.0)
        self.service.hurry()  # type: ignore[attr-defined]  # the daemon's own
        client.settle()
        said = client.take()
        self.assertIn(b'"content":"a"', said)
        self.assertIn(b'"code":"gateway_stopped"', said)
        self.assertFalse(said.endswith(b"0\r\n\r\n"))
        self.successResultOf(stopped)
        client.leave()


class UnchangedTests(SynchronousTestCase):
    """What only a start can change."""

    def test_sentences(self) -> None:
        """One for each."""
        folder = Path("/run/credentials/x")
        before = settings_from({}, source="g", directory=folder, environ={})
        self.assertEqual(unchanged_by_reload(before, before, {}), ())
        after = evolve(
            before,
            process=ProcessSettings(workers=4),
            admin=evolve(before.admin, listen="tcp:1"),
            log=evolve(before.log, format="json"),
        )
        words = [said.partition(":")[0] for said in unchanged_by_reload(before, after, {})]
        self.assertEqual(words, ["[process] workers", "[admin] listen", "[log] format"])
        (said,) = unchanged_by_reload(before, before, {"CREDENTIALS_DIRECTORY": str(folder)})
        self.assertTrue(said.startswith("cert.pem, key.pem"), said)
        secret = Secret("sk-0123456789", Path("/run/credentials/y/key"))
        settings = settings_from(DOCUMENT, source="g", directory=Path("/etc"), environ={})
        settings = evolve(settings, upstreams=(evolve(settings.upstreams[0], api_key=secret),))
        (said,) = unchanged_by_reload(
            settings, settings, {"CREDENTIALS_DIRECTORY": "/run/credentials/y"}
        )
        self.assertTrue(said.startswith("key: "), said)
