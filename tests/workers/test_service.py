"""The parent's service put together."""

from __future__ import annotations

import signal
from unittest import mock

from twisted.application.service import MultiService
from twisted.internet.defer import succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from gptproxy.listening import ListeningService
from gptproxy.process import EndOnSignal, ReloadOnHangup, Supervised
from gptproxy.workers import WorkerCommand, add_workers
from gptproxy.workers.parent import Parent
from tests.process.rig import Manager


class ServiceTests(SynchronousTestCase):
    """Its parts."""

    def setUp(self) -> None:
        self.addCleanup(signal.signal, signal.SIGHUP, signal.getsignal(signal.SIGHUP))
        self.trouble: Exception | None = None

    def check(self) -> float:
        if self.trouble is not None:
            raise self.trouble
        return 7.0

    def made(self, environ: dict[str, str], ports: tuple[str, ...] = ()) -> dict[type, object]:
        """:return: the parts by their classes."""
        service = MultiService()
        add_workers(
            service,
            2,
            WorkerCommand(lambda number, ports: [], {}, None),
            ports,
            Clock(),
            drain_seconds=1.0,
            check=self.check,
            environ=environ,
            pid_file=None,
            foreground=True,
        )
        return {type(each): each for each in service}

    def test_alone(self) -> None:
        """Nobody wants to be told."""
        self.assertEqual(set(self.made({})), {Parent, EndOnSignal, ReloadOnHangup})

    def test_ports(self) -> None:
        """The parent opens what nobody has handed down."""
        self.assertIn(ListeningService, self.made({}, ("tcp:0",)))

    def test_under_a_service_manager(self) -> None:
        """It is told when all are ready."""
        manager = Manager(self)
        found = self.made({"NOTIFY_SOCKET": manager.address})
        self.assertEqual(set(found), {Parent, EndOnSignal, ReloadOnHangup, Supervised})

    def test_reload(self) -> None:
        """What is wrong reaches nobody."""
        with mock.patch.object(Parent, "all_ready", return_value=succeed(None)):
            found = self.made({})
        reloading = found[ReloadOnHangup]
        assert isinstance(reloading, ReloadOnHangup)
        reloading.running = True
        with mock.patch.object(Parent, "reload") as reload:
            self.trouble = ValueError("wrong")
            reloading.reload()
            reload.assert_not_called()
            self.trouble = None
            reloading.reload()
            reload.assert_called_once_with(7.0)
        self.flushLoggedErrors()
