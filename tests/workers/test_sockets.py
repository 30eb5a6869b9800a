"""Sockets that all workers share."""

from __future__ import annotations

import socket
from pathlib import Path

from twisted.internet import reactor
from twisted.trial.unittest import SynchronousTestCase, TestCase

from gptproxy.listening import UnusableEndpoint
from gptproxy.process import InheritedSocket
from gptproxy.workers.sockets import shared_sockets
from tests.top.rig import folder_of


class SharedSocketTests(TestCase):
    """Real ones."""

    async def test_opened_and_not_accepted_on(self) -> None:
        """A client waits in the queue: whoever has the socket too may accept it. A worker is told which port it is."""
        (shared,), (service,) = shared_sockets(
            ["ssl:0:interface=127.0.0.1"], reactor, [], None, foreground=True
        )
        self.assertEqual(shared.description, "ssl:0:interface=127.0.0.1")
        service.startService()
        self.addCleanup(service.stopService)
        kind, port, interface = shared.description.split(":")
        self.assertEqual((kind, interface), ("ssl", "interface=127.0.0.1"))
        self.assertNotEqual(port, "0")
        with socket.create_connection(("127.0.0.1", int(port)), 10) as client:
            (descriptor,) = shared.descriptors()
            with socket.fromfd(descriptor, socket.AF_INET, socket.SOCK_STREAM) as ours:
                ours.settimeout(10)
                accepted, address = ours.accept()
                accepted.close()
            self.assertEqual(address, client.getsockname())

    async def test_closed_for_the_parent_alone(self) -> None:
        """Who waits in the queue is left to the workers, which accept them before they close theirs."""
        (shared,), (service,) = shared_sockets(
            ["tcp:0:interface=127.0.0.1"], reactor, [], None, foreground=True
        )
        service.startService()
        (descriptor,) = shared.descriptors()
        with socket.fromfd(descriptor, socket.AF_INET, socket.SOCK_STREAM) as workers:
            workers.settimeout(10)
            port = int(shared.description.split(":")[1])
            door = service.door()
            assert door is not None
            self.assertEqual(getattr(door.address, "port", None), port)
            with socket.create_connection(("127.0.0.1", port), 10) as client:
                await service.stopService()
                accepted, address = workers.accept()
                self.assertEqual(address, client.getsockname())
                accepted.sendall(b"served")
                accepted.close()
                self.assertEqual(client.recv(10), b"served")


class UnusableTests(SynchronousTestCase):
    """What is no port for several."""

    def refused(self, description: str) -> str:
        with self.assertRaises(UnusableEndpoint) as caught:
            shared_sockets([description], reactor, [], None, foreground=True)
        return str(caught.exception)

    def test_kinds(self) -> None:
        """Only TCP's sockets are handed down."""
        path = folder_of(self) / "socket"
        self.assertIn("share tcp: and ssl: ports alone", self.refused(f"unix:{path}"))
        self.assertIn("[tls]", self.refused("ssl:443:privateKey=key.pem"))
        self.assertEqual(list(Path(path).parent.iterdir()), [])

    def test_no_endpoint(self) -> None:
        """Twisted's own words say why."""
        self.assertTrue(self.refused("tcp:x").startswith("--port tcp:x: "))

    def test_inherited(self) -> None:
        """What the service manager has opened is handed on, and not opened again."""
        given = InheritedSocket(7, socket.AF_INET, "127.0.0.1", 443)
        other = InheritedSocket(8, socket.AF_INET, "127.0.0.1", 80)
        (shared,), services = shared_sockets(
            ["ssl:443"], reactor, [given, other], None, foreground=True
        )
        self.assertEqual((shared.descriptors(), shared.description, services), ([7], "ssl:443", []))
