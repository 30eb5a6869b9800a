"""What the operator sees: figures, health, status; and what strangers see of them."""

from __future__ import annotations

import subprocess
import sys

import orjson
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from gptproxy.admin import State
from gptproxy.call_record import CallRecord
from gptproxy.config import Settings, settings_from
from gptproxy.figures import NOBODY
from gptproxy.limits import Overload
from gptproxy.logs import LogGuard, Redaction
from gptproxy.operations import Operations, Rooms
from gptproxy.upstream import UpstreamState
from tests.http.memory import MemoryTransport
from tests.http.serving import Client
from tests.top.rig import environment, folder_of
from tests.top.test_daemon import DOCUMENT, TOKEN, Reactor, daemon, read_answer, request

ADMIN = {"admin": {"listen": "tcp:9480:interface=127.0.0.1"}}
RECORD = CallRecord("id-1", "ann", "POST", "/x", "gpt-4", "local", 1, 200, 17, 1.2, 0.1, 3, 4)


class Senders:
    """Upstreams that are as a test says."""

    def __init__(self, **states: str) -> None:
        self._states = states

    def states(self) -> tuple[UpstreamState, ...]:
        return tuple(
            UpstreamState(name, state, 0.0, 4, 2)  # type: ignore[arg-type]  # one of them
            for name, state in self._states.items()
        )


class Access:
    """GitLab is away for so long."""

    def __init__(self, away: float | None = None) -> None:
        self._away = away

    def gitlab_away_seconds(self) -> float | None:
        return self._away

    def known_callers(self) -> int:
        return 7


class Connected:
    """Somebody with connections, or a door."""

    def __init__(self, connections: int = 3, door: object = object()) -> None:
        self.connections = self.open = connections
        self._door = door
        self.description = "tcp:8480"

    def door(self) -> object:
        return self._door


class OperationsTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = folder_of(self)

    def settings(self, **changes: object) -> Settings:
        document = {k: v for k, v in {**DOCUMENT, **ADMIN, **changes}.items() if v is not None}
        return settings_from(document, source="g.toml", directory=self.folder, environ={})

    def operations(
        self,
        settings: Settings | None = None,
        senders: Senders | None = None,
        access: Access | None = None,
        door: object = object(),
    ) -> Operations:
        settings = settings or self.settings()
        operations = Operations(settings, MemoryReactorClock())
        rooms = Rooms(settings, access or Access(), senders or Senders(), (Connected(5),))  # type: ignore[arg-type]  # as much as is asked
        operations.watch(rooms)
        overload = Overload(0.25, None)
        overload.look(0.125, 1, 10.0, 0.175)
        operations.watch_process([Connected(door=door)], Connected(3), overload)  # type: ignore[arg-type, list-item]  # see above
        return operations

    def state(self, operations: Operations, name: str) -> tuple[State, str]:
        (found,) = [each for each in operations.health.conditions() if each.name == name]
        return found.state, found.detail


class ProbeTests(OperationsTestCase):
    def test_all_is_well(self) -> None:
        """Upstreams that were never asked are; a database that is missing is a warning."""
        operations = self.operations()
        (self.folder / "knowledge.db").touch()
        self.assertEqual({c.state for c in operations.health.conditions()}, {State.GOOD})

    def test_listeners(self) -> None:
        """Every one of them."""
        self.assertEqual(
            self.state(self.operations(door=None), "listeners"),
            (State.FAILED, "nobody listens on tcp:8480"),
        )
        nobody = Operations(self.settings(), MemoryReactorClock())
        self.assertEqual(self.state(nobody, "listeners"), (State.FAILED, "nobody listens"))

    def test_upstreams(self) -> None:
        """One that is open is enough."""
        more = [*DOCUMENT["upstream"], {**DOCUMENT["upstream"][0], "name": "other"}]
        settings = self.settings(upstream=more)
        for states, expected in [
            ({"local": "throttled"}, (State.GOOD, "2 open")),
            ({"local": "down"}, (State.WARNING, "down: local")),
            ({"local": "down", "other": "probing"}, (State.FAILED, "down: local, other")),
        ]:
            operations = self.operations(settings, Senders(**states))
            self.assertEqual(self.state(operations, "upstreams"), expected)

    def test_no_upstreams(self) -> None:
        """Callers bring their own, or nobody can be served."""
        nothing = {"upstream": None, "topic": None, "knowledge": None}
        own = self.operations(self.settings(**nothing, access={"pure_proxy": True}))
        self.assertEqual(self.state(own, "upstreams")[0], State.GOOD)
        self.assertEqual(self.state(own, "knowledge"), (State.GOOD, "not configured"))
        none = self.operations(self.settings(**nothing))
        self.assertEqual(self.state(none, "upstreams")[0], State.FAILED)

    def test_a_database_that_is_missing(self) -> None:
        """Callers are served without, unless the operator wants none to be."""
        self.assertEqual(self.state(self.operations(), "knowledge")[0], State.WARNING)
        required = self.settings(knowledge={**DOCUMENT["knowledge"], "required": True})
        self.assertEqual(self.state(self.operations(required), "knowledge")[0], State.FAILED)
        (self.folder / "knowledge.db").touch()
        self.assertEqual(self.state(self.operations(required), "knowledge")[0], State.GOOD)

    def test_gitlab(self) -> None:
        """Trouble is a warning with its age."""
        settings = self.settings(gitlab={"url": "https://git.corp.com"})
        self.assertEqual(self.state(self.operations(settings), "gitlab")[0], State.GOOD)
        state, detail = self.state(self.operations(settings, access=Access(61.0)), "gitlab")
        self.assertEqual(state, State.WARNING)
        self.assertIn("61 s", detail)
        self.assertEqual(self.state(self.operations(), "gitlab")[1], "not configured")


class FigureTests(OperationsTestCase):
    def test_gauges_are_what_is_so_now(self) -> None:
        """Whenever the page is asked for."""
        operations = self.operations(senders=Senders(local="down"))
        operations.calls.open, operations.calls.streams = 4, 2
        page = operations.page().decode()
        for line in (
            "gptproxy_open_calls 4.0",
            "gptproxy_open_streams 2.0",
            "gptproxy_connections 3.0",
            "gptproxy_upstream_connections 5.0",
            "gptproxy_reactor_lag_seconds 0.125",
            'gptproxy_circuit_open{upstream="local"} 1.0',
        ):
            self.assertIn(line + "\n", page)

    def test_calls_and_refusals(self) -> None:
        """Are counted as they end."""
        operations = self.operations()
        operations.calls.end(RECORD)
        record = CallRecord("id-2", "-", "POST", "/x", "-", "-", 0, 401, 9, 0.1, error="no_key")
        operations.calls.end(record)
        page = operations.page().decode()
        self.assertIn('gptproxy_refusals_total{code="no_key"} 1.0', page)
        self.assertIn('model="gpt-4",route="/x",status="200",upstream="local"} 1.0', page)

    def test_what_the_log_holds_back(self) -> None:
        """Is counted too."""
        guard = LogGuard(Redaction(), Clock())
        operations = Operations(self.settings(), MemoryReactorClock(), guard)
        guard.suppressed()
        self.assertIn("gptproxy_log_events_suppressed_total 1.0", operations.page().decode())

    def test_nobody_counts_without_an_admin_listener(self) -> None:
        """And nothing is loaded for it."""
        operations = Operations(self.settings(admin=None), MemoryReactorClock())
        self.assertIs(operations.figures, NOBODY)
        self.assertEqual(operations.page(), b"")
        self.assertIsNone(operations.listener(lambda: None, None))  # type: ignore[arg-type, return-value]  # not called
        words = (
            "import sys; import gptproxy.daemon, gptproxy.operations; "
            "print([name for name in sys.modules if name.startswith('prometheus_client')])"
        )
        done = subprocess.run(
            [sys.executable, "-c", words],
            env=environment(),
            capture_output=True,
            text=True,
            check=True,
        )
        self.assertEqual(done.stdout.strip(), "[]")


class StatusTests(OperationsTestCase):
    def test_everything(self) -> None:
        """As gptproxy status draws it."""
        settings = self.settings(gitlab={"url": "https://git.corp.com"})
        operations = self.operations(settings, Senders(local="down"), Access(5.0))
        operations.calls.end(RECORD)
        status = operations.status()
        self.assertEqual(set(status["versions"]), {"python", "twisted", "openssl"})
        self.assertTrue(all(str(each)[0].isdigit() for each in status["versions"].values()))
        self.assertEqual(status["calls"], {"ended": 1, "open": -1, "streams": 0})
        self.assertEqual(status["cache"], {"verdicts": 7})
        self.assertEqual(
            status["gitlab"],
            {"url": "https://git.corp.com", "answers": False, "away_seconds": 5.0},
        )
        self.assertEqual(
            status["upstreams"],
            [{"name": "local", "kind": "openai", "state": "down", "calls": 4, "failed": 2}],
        )
        process = status["process"]
        assert isinstance(process, dict)
        self.assertEqual((process["lag_seconds"], process["shedding"]), (0.125, False))
        self.assertGreater(process["memory_bytes"], 1_000_000)
        orjson.dumps(status)

    def test_before_there_is_anything(self) -> None:
        """It says so."""
        operations = Operations(self.settings(), MemoryReactorClock())
        status = operations.status()
        self.assertEqual((status["upstreams"], status["gitlab"]), ([], {}))
        self.assertEqual(self.state(operations, "upstreams")[0], State.FAILED)
        operations.refresh()

    def test_several_processes(self) -> None:
        """Put theirs together: that is what is shown then."""
        operations = self.operations()
        operations.shown_status = lambda: {"workers": 2}
        listener = operations.listener(lambda: None, None)  # type: ignore[arg-type, return-value]  # not called
        assert listener is not None
        client = Client(listener._factory.resource)
        client.send(b"GET /status HTTP/1.1\r\nHost: x\r\n\r\n")
        (answer,) = client.answers(b"GET")
        self.assertEqual(orjson.loads(answer.body), {"workers": 2})


class DaemonTests(SynchronousTestCase):
    """As it is put together."""

    def setUp(self) -> None:
        self.folder = folder_of(self)
        self.reactor = Reactor()
        document = {**DOCUMENT, **ADMIN, "topic": None, "knowledge": None}
        kept = {name: value for name, value in document.items() if value is not None}
        settings = settings_from(kept, source="g.toml", directory=self.folder, environ={})
        self.service = daemon(settings, ("tcp:8480",), self.reactor, None)
        self.service.privilegedStartService()
        self.service.startService()
        self.addCleanup(self.service.stopService)

    def ask(self, port: int, sent: bytes) -> tuple[int, bytes]:
        (factory,) = [server[1] for server in self.reactor.tcpServers if server[0] == port]
        transport = MemoryTransport()
        transport.connect(factory.buildProtocol(None))
        transport.deliver(sent)
        answer, _ = read_answer(transport.take(), b"GET", closed=False)
        return answer.status, answer.body

    def get(self, port: int, path: str) -> tuple[int, bytes]:
        return self.ask(port, f"GET {path} HTTP/1.1\r\nhost: h\r\n\r\n".encode())

    def test_public_health_has_no_details(self) -> None:
        """And asks for no token; figures and status are not there."""
        self.assertEqual(self.get(8480, "/healthz"), (200, b'{"status":"ok"}'))
        _, body = self.get(8480, "/readyz")
        self.assertEqual(list(orjson.loads(body)), ["status"])
        for path in ("/metrics", "/status"):
            self.assertEqual(self.get(8480, path)[0], 404)

    def test_a_call_is_seen(self) -> None:
        """On the admin listener."""
        status, _ = self.ask(8480, request("/v1/chat/completions", b"{", TOKEN))
        self.assertEqual(status, 400)
        page = self.get(9480, "/metrics")[1].decode()
        self.assertIn('gptproxy_refusals_total{code="invalid_json"} 1.0', page)
        shown = orjson.loads(self.get(9480, "/status")[1])
        self.assertEqual((shown["calls"]["ended"], shown["calls"]["open"]), (1, 0))
        self.assertEqual(self.get(9480, "/v1/models")[0], 404)
