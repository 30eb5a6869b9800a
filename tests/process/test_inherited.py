"""Sockets that were handed down."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path
from unittest import mock

import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface.verify import verifyObject

from gptproxy.http import ImmediateReactor
from gptproxy.process import (
    InheritedEndpoint,
    InheritedSocket,
    fitting_sockets,
    inherited_sockets,
    unasked_sockets,
)
from gptproxy.process.inherited import inherited_descriptors
from gptproxy.tryout import write_certificate
from tests.process.rig import Manager
from tests.top.rig import SECONDS, TWISTD, environment, folder_of

ANY = InheritedSocket(3, socket.AF_INET6, "::", 443, "https")
FOUR = InheritedSocket(4, socket.AF_INET, "127.0.0.1", 8443)
SIX = InheritedSocket(5, socket.AF_INET6, "::1", 8443)


@pytest.mark.parametrize(
    ("environ", "found"),
    [
        ({}, {}),
        ({"LISTEN_PID": "7", "LISTEN_FDS": "2", "LISTEN_FDNAMES": "a:b"}, {3: "a", 4: "b"}),
        ({"LISTEN_PID": "7", "LISTEN_FDS": "2"}, {3: "", 4: ""}),
        ({"LISTEN_PID": "7", "LISTEN_FDS": "2", "LISTEN_FDNAMES": "a"}, {3: "a", 4: ""}),
        ({"LISTEN_PID": "8", "LISTEN_FDS": "2"}, {}),
        ({"LISTEN_PID": "7", "LISTEN_FDS": "-1"}, {}),
        ({"LISTEN_PID": "7", "LISTEN_FDS": "x"}, {}),
        ({"LISTEN_PID": "7"}, {}),
    ],
)
def test_descriptors(environ: dict[str, str], found: dict[int, str]) -> None:
    """From 3 on, with their names, for the process that is meant."""
    assert inherited_descriptors(environ, 7) == found


def test_descriptors_are_bounded() -> None:
    """However many are told."""
    assert len(inherited_descriptors({"LISTEN_PID": "7", "LISTEN_FDS": "9999"}, 7)) == 64


@pytest.mark.parametrize(
    ("description", "found"),
    [
        ("ssl:443", [ANY]),
        ("tcp:443", [ANY]),
        ("tcp:port=443", [ANY]),
        ("ssl:443:backlog=7", [ANY]),
        (r"ssl:443:interface=\:\:", [ANY]),
        (r"ssl:443:interface=0\:0\:\:0", [ANY]),
        ("ssl:443:interface=127.0.0.1", []),
        ("ssl:443:interface=localhost", []),
        ("ssl:8443", [FOUR, SIX]),
        ("ssl:8443:interface=127.0.0.1", [FOUR]),
        (r"ssl:interface=\:\:1:port=8443", [SIX]),
        ("ssl:80", []),
        ("ssl:", []),
        ("ssl", []),
    ],
)
def test_fitting(description: str, found: list[InheritedSocket]) -> None:
    """By the port, and the interface where one is named."""
    assert list(fitting_sockets([ANY, FOUR, SIX], description)) == found


def test_unasked() -> None:
    """What no port fits."""
    sockets = (ANY, FOUR, SIX)
    assert unasked_sockets(sockets, ["ssl:443", "ssl:8443:interface=127.0.0.1"]) == (SIX,)
    assert unasked_sockets(sockets, []) == sockets
    assert unasked_sockets((), ["ssl:443"]) == ()


def test_words() -> None:
    """How a socket looks in a message."""
    assert (str(ANY), str(FOUR)) == ("[::]:443", "127.0.0.1:8443")


class FoundTests(SynchronousTestCase):
    """What is looked at, in this very process."""

    def found(self, *descriptors: int) -> tuple[InheritedSocket, ...]:
        given = dict.fromkeys(descriptors, "name")
        with mock.patch("gptproxy.process.inherited.inherited_descriptors", return_value=given):
            return inherited_sockets()

    def test_none(self) -> None:
        """A process that was not started so has none."""
        self.assertEqual(inherited_sockets(), ())

    def test_kinds(self) -> None:
        """TCP's are taken, and are no longer inherited further; other sockets, files and nothing are left alone."""
        with (
            socket.socket() as tcp,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
            socket.socket(socket.AF_UNIX) as unix,
            Path("/dev/null").open("rb") as file,
        ):
            tcp.bind(("127.0.0.1", 0))
            os.set_inheritable(tcp.fileno(), True)
            port = tcp.getsockname()[1]
            found = self.found(tcp.fileno(), udp.fileno(), unix.fileno(), file.fileno(), 9999)
            expected = InheritedSocket(tcp.fileno(), socket.AF_INET, "127.0.0.1", port, "name")
            self.assertEqual(found, (expected,))
            self.assertFalse(tcp.get_inheritable())

    def test_a_system_without_proc(self) -> None:
        """The environment is what is left of it."""
        with (
            mock.patch.object(Path, "read_bytes", side_effect=OSError),
            mock.patch.dict("os.environ", {"LISTEN_PID": "1", "LISTEN_FDS": "1"}),
        ):
            self.assertEqual(inherited_sockets(), ())


class Greeter(Protocol):
    """Says hello, and is gone."""

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(b"hello")
        self.transport.loseConnection()


class EndpointTests(TestCase):
    """Real sockets."""

    async def listening(self, *hosts: str) -> tuple[IListeningPort, list[socket.socket]]:
        kept = []
        given = []
        for host in hosts:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            ours = socket.socket(family)
            self.addCleanup(ours.close)
            ours.bind((host, 0))
            ours.listen()
            kept.append(ours)
            # systemd keeps its own descriptor, too.
            given.append(InheritedSocket(os.dup(ours.fileno()), family, *ours.getsockname()[:2]))
        endpoint = InheritedEndpoint(ImmediateReactor(reactor), tuple(given))
        return await endpoint.listen(Factory.forProtocol(Greeter)), kept

    def greeting(self, address: tuple[str, int]) -> Deferred[bytes]:
        from twisted.internet.threads import deferToThread

        def ask() -> bytes:
            with socket.create_connection(address, SECONDS) as client:
                return client.recv(100)

        return deferToThread(ask)

    async def test_one(self) -> None:
        """It serves; stopped, clients still wait in the queue, and whoever listens next serves them."""
        port, (kept,) = await self.listening("127.0.0.1")
        address = kept.getsockname()
        self.assertEqual(await self.greeting(address), b"hello")
        self.assertEqual(port.getHost().port, address[1])
        await port.stopListening()
        waiting = self.greeting(address)
        endpoint = InheritedEndpoint(
            reactor,
            (InheritedSocket(os.dup(kept.fileno()), socket.AF_INET, *address),),
        )
        port = await endpoint.listen(Factory.forProtocol(Greeter))
        self.assertEqual(await waiting, b"hello")
        await port.stopListening()

    async def test_several(self) -> None:
        """They count as one port."""
        port, kept = await self.listening("127.0.0.1", "127.0.0.2")
        verifyObject(IListeningPort, port)
        port.startListening()
        for each in kept:
            self.assertEqual(await self.greeting(each.getsockname()), b"hello")
        self.assertEqual(port.getHost().host, "127.0.0.1")
        await port.stopListening()


@pytest.mark.skipif(
    shutil.which("systemd-socket-activate") is None, reason="systemd-socket-activate is not here"
)
class ActivationTests(SynchronousTestCase):
    """The daemon as systemd starts it, without systemd."""

    def test_the_same_command_line(self) -> None:
        """``--port ssl:N`` takes the socket over, says READY=1 after a handshake, reloads, and says STOPPING=1."""
        folder = folder_of(self)
        write_certificate(folder)
        (folder / "gptproxy.toml").write_text("")
        manager = Manager(self)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = ["systemd-socket-activate", "--fdname=https", f"--listen=127.0.0.1:{port}"]
        for name in ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "NOTIFY_SOCKET"):
            command += ["-E", name]
        with (folder / "log").open("w+") as log:
            process = subprocess.Popen(
                [
                    *command, sys.executable, "-c", TWISTD, "--nodaemon", "--pidfile=", "gptproxy",
                    "--config", "gptproxy.toml", "--port", f"ssl:{port}",
                ],
                cwd=folder,
                env=environment(NOTIFY_SOCKET=manager.address),
                stdout=log,
                stderr=log,
            )  # fmt: skip
            try:
                self.assertIn(b" 503 ", self.page(port))
                self.assertEqual(manager.wait(SECONDS), "READY=1\nSTATUS=ready")
                process.send_signal(1)
                self.assertIn("RELOADING=1\nMONOTONIC_USEC=", manager.wait(SECONDS))
                self.assertEqual(manager.wait(SECONDS), "READY=1\nSTATUS=reloaded")
            finally:
                process.terminate()
                process.wait(SECONDS)
            self.assertEqual(manager.wait(SECONDS), "STOPPING=1")
            self.assertIn("reloaded", (folder / "log").read_text())

    def page(self, port: int) -> bytes:
        """:return: what ``/`` says, once somebody listens."""
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        deadline = time.monotonic() + SECONDS
        while True:
            try:
                plain = socket.create_connection(("127.0.0.1", port), SECONDS)
                break
            except ConnectionRefusedError:
                # systemd-socket-activate has not bound it yet.
                assert time.monotonic() < deadline
        with context.wrap_socket(plain) as client:
            client.sendall(b"GET / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n")
            return client.recv(4096)
