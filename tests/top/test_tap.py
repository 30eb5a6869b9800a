"""``twistd gptproxy``: the command line, in process and with the real twistd."""

from __future__ import annotations

import os
import re
import select
import signal
import socket
import ssl
from pathlib import Path
from unittest import mock

from twisted.application.service import IService, IServiceMaker
from twisted.internet.testing import MemoryReactorClock
from twisted.plugin import IPlugin
from twisted.scripts.twistd import ServerOptions
from twisted.trial.unittest import SynchronousTestCase

from gptproxy import __version__, tap
from gptproxy.config import Settings, load_settings
from gptproxy.listening import ListeningService
from tests.top.rig import Certified, folder_of, printed, python, twistd
from twisted.plugins import gptproxy_plugin

PURE_PROXY = "[access]\npure_proxy = true\n"


class OptionsTests(SynchronousTestCase):
    """What the command line says, as a whole."""

    def setUp(self) -> None:
        self.folder = folder_of(self)
        self.file = self.folder / "g.toml"
        self.file.write_text(PURE_PROXY)

    def options(self, *arguments: str) -> tap.Options:
        options = tap.Options()
        with mock.patch.dict(os.environ, clear=True):
            options.parseOptions(list(arguments))
        return options

    def lines(self, *arguments: str) -> list[str]:
        """:return: what stands on stderr when they are refused."""
        with printed() as (out, err), self.assertRaises(SystemExit) as caught:
            self.options(*arguments)
        self.assertEqual((caught.exception.code, out.getvalue()), (1, ""))
        self.assertTrue(err.getvalue().endswith("\n"))
        return err.getvalue().splitlines()

    def test_defaults(self) -> None:
        """The default file, else the environment; port 443 with TLS."""
        with mock.patch.object(tap, "load_settings") as load:
            options = self.options()
        load.assert_called_once_with(None, environ=mock.ANY, working_directory=Path.cwd())
        self.assertEqual(dict(options), {"config": None, "ports": ["ssl:443"], "workers": None})
        self.assertIs(options.settings, load.return_value)

    def test_everything(self) -> None:
        """A file, and ports in the order written."""
        options = self.options(
            "-c", str(self.file), "--port", "ssl:443", "-p", "tcp:80:interface=::1", "-w", "3"
        )
        self.assertEqual(
            dict(options),
            {
                "config": str(self.file),
                "ports": ["ssl:443", "tcp:80:interface=::1"],
                "workers": "3",
            },
        )
        self.assertEqual(options.workers, 3)
        self.assertIsInstance(options.settings, Settings)
        self.assertEqual(options.settings.source, str(self.file))

    def test_two_lines_of_ports_are_two(self) -> None:
        """One command line's ports are not the next one's."""
        self.options("-c", str(self.file), "--port", "tcp:1")
        options = self.options("-c", str(self.file), "--port", "tcp:2")
        self.assertEqual(options["ports"], ["tcp:2"])

    def test_version(self) -> None:
        """Is printed, and no configuration is read."""
        with printed() as (out, err), self.assertRaises(SystemExit) as caught:
            self.options("--config", "missing.toml", "--version")
        self.assertEqual(caught.exception.code, 0)
        self.assertEqual((out.getvalue(), err.getvalue()), (f"gptproxy {__version__}\n", ""))

    def test_help(self) -> None:
        """Names the options."""
        text = str(tap.Options())
        for word in ("--config", "--port", "ssl:443", "--version", "/etc/gptproxy/gptproxy.toml"):
            self.assertIn(word, text)

    def test_wrong_command_lines(self) -> None:
        """One line on stderr, status 1."""
        for arguments, line in [
            (("--prot", "tcp:1"), "gptproxy: option --prot not recognized"),
            (("--port",), "gptproxy: option --port requires argument"),
            (
                ("extra",),
                "gptproxy: extra: unknown argument; each endpoint needs a --port of its own",
            ),
        ]:
            with self.subTest(arguments):
                self.assertEqual(self.lines(*arguments), [line])

    def test_a_missing_file(self) -> None:
        """Is named as it was written."""
        self.assertEqual(
            self.lines("--config", "no/such.toml"),
            ["gptproxy: no/such.toml: cannot be read: No such file or directory"],
        )

    def test_several_faults(self) -> None:
        """One line each; no value is shown."""
        self.file.write_text('[gitlab]\nurl = "ftp://secret"\n[gitlba]\n[[topic]]\nwords = 1\n')
        lines = self.lines("-c", str(self.file))
        self.assertGreaterEqual(len(lines), 3)
        for line in lines:
            self.assertTrue(line.startswith(f"gptproxy: {self.file}: "), line)
            self.assertNotIn("secret", line)
        self.assertTrue(any("gitlba" in line and "gitlab" in line for line in lines))


class MakeServiceTests(SynchronousTestCase):
    """From options to a service."""

    def setUp(self) -> None:
        self.folder = folder_of(self)

    def options(self, *ports: str, parent: ServerOptions | None = None) -> tap.Options:
        options = tap.Options()
        options.parent = parent
        options["ports"] = list(ports)
        options.settings = load_settings(
            None, environ={}, default_path=self.folder / "none", working_directory=self.folder
        )
        return options

    def make(self, options: tap.Options) -> IService:
        with mock.patch("twisted.internet.reactor", MemoryReactorClock(), create=True):
            return tap.makeService(options)

    def test_the_service(self) -> None:
        """Listens where it is told, with twistd's pid file and in twistd's fore- or background."""
        service = self.make(self.options("tcp:1", "tcp:2"))
        self.assertTrue(IService.providedBy(service))
        listening = [s for s in service.doors if isinstance(s, ListeningService)]
        self.assertEqual([s._description for s in listening], ["tcp:1", "tcp:2"])
        self.assertEqual({(s._pid_file, s._foreground) for s in listening}, {(None, True)})
        parent = ServerOptions()
        parent["pidfile"] = "here.pid"
        for nodaemon in (True, False):
            parent["nodaemon"] = nodaemon
            service = self.make(self.options("tcp:1", parent=parent))
            (listening,) = (s for s in service.doors if isinstance(s, ListeningService))
            self.assertEqual((listening._pid_file, listening._foreground), ("here.pid", nodaemon))

    def test_what_cannot_be_used(self) -> None:
        """One line on stderr, status 1: a port, a certificate."""
        for port, words in [
            ("nonsense:1", "--port nonsense:1: not a usable Twisted endpoint such as ssl:443"),
            ("ssl:443", f"no configuration: tls.certificate: cannot read {self.folder}/cert.pem"),
        ]:
            with self.subTest(port):
                with printed() as (out, err), self.assertRaises(SystemExit) as caught:
                    self.make(self.options(port))
                self.assertEqual((caught.exception.code, out.getvalue()), (1, ""))
                self.assertTrue(err.getvalue().startswith(f"gptproxy: {words}"), err.getvalue())
                self.assertEqual(err.getvalue().count("\n"), 1)

    def test_the_plugin(self) -> None:
        """Names the tap, and that is all."""
        maker = gptproxy_plugin.gptproxy
        self.assertTrue(IPlugin.providedBy(maker))
        self.assertTrue(IServiceMaker.providedBy(maker))
        self.assertEqual((maker.tapname, maker.module), ("gptproxy", "gptproxy.tap"))
        self.assertIs(maker.options, tap.Options)


class ProcessTests(SynchronousTestCase):
    """The real twistd."""

    def setUp(self) -> None:
        self.folder = folder_of(self)
        (self.folder / "g.toml").write_text(PURE_PROXY)

    def test_the_plugin_is_light(self) -> None:
        """To list its commands, twistd loads nothing of gptproxy."""
        done = python(
            "-c",
            "import sys, twisted.plugins.gptproxy_plugin\n"
            "print([m for m in sys.modules if m.partition('.')[0] in ('gptproxy', 'numpy', 'treq')])",
        )
        self.assertEqual((done.stdout, done.returncode), ("[]\n", 0))
        self.assertIn("gptproxy", twistd("--help", cwd=self.folder).stdout)

    def test_no_numpy_without_topics(self) -> None:
        """The daemon's modules do not bring it."""
        done = python(
            "-c", "import sys, gptproxy.tap, gptproxy.daemon\nprint('numpy' in sys.modules)"
        )
        self.assertEqual((done.stdout, done.stderr, done.returncode), ("False\n", "", 0))

    def test_a_wrong_command_line(self) -> None:
        """One line on stderr and status 1, which twistd alone would not give."""
        for arguments, line in [
            (("--config", "none.toml"), "none.toml: cannot be read: No such file or directory"),
            (("--prot",), "option --prot not recognized"),
        ]:
            done = twistd("-n", "gptproxy", *arguments, cwd=self.folder)
            self.assertEqual(
                (done.returncode, done.stdout, done.stderr), (1, "", f"gptproxy: {line}\n")
            )

    def test_a_port_in_use(self) -> None:
        """One line on stderr in the foreground; status 1 and no pid file, in the background too."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = f"tcp:{taken.getsockname()[1]}:interface=127.0.0.1"
            ours = ("--pidfile", "t.pid", "gptproxy", "--config", "g.toml", "--port", port)
            done = twistd("-n", *ours, cwd=self.folder)
            self.assertEqual(
                (done.returncode, done.stderr),
                (1, f"gptproxy: cannot listen on {port}: Address already in use\n"),
            )
            self.assertFalse((self.folder / "t.pid").exists())
            done = twistd("--logfile", "t.log", *ours, cwd=self.folder)
            self.assertEqual((done.returncode, done.stdout), (1, ""))
            self.assertIn(f"{port}: Address already in use", done.stderr)
            self.assertNotIn("Traceback", done.stderr)
        self.assertIn(f"cannot listen on {port}", (self.folder / "t.log").read_text())
        self.assertFalse((self.folder / "t.pid").exists())

    def test_in_the_background(self) -> None:
        """It serves with TLS, and SIGTERM ends it and its pid file."""
        leaf = Certified("leaf.test")
        (self.folder / "cert.pem").write_bytes(leaf.pem)
        (self.folder / "key.pem").write_bytes(leaf.key_pem())
        done = twistd(
            "--pidfile=t.pid",
            "--logfile=t.log",
            "gptproxy",
            "--config=g.toml",
            "--port=ssl:0:interface=127.0.0.1",
            cwd=self.folder,
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        process = int((self.folder / "t.pid").read_text())
        found = re.search(r"starting on (\d+)", (self.folder / "t.log").read_text())
        assert found is not None
        # Its reactor runs, and so its signal's handler is installed, when it has shaken hands.
        context = ssl.create_default_context(cadata=leaf.pem.decode())
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        with (
            socket.create_connection(("127.0.0.1", int(found.group(1)))) as plain,
            context.wrap_socket(plain, server_hostname="leaf.test") as connection,
        ):
            connection.sendall(b"GET /nope HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n")
            self.assertIn(b"404", connection.recv(20))
        os.kill(process, signal.SIGTERM)
        _wait_for_end(process)
        self.assertFalse((self.folder / "t.pid").exists())
        self.assertNotIn("Traceback", (self.folder / "t.log").read_text())


def _wait_for_end(process: int) -> None:
    """Until a process that is not our child is gone; killed if it will not go."""
    descriptor = os.pidfd_open(process)
    try:
        if not select.select([descriptor], [], [], 60)[0]:
            os.kill(process, signal.SIGKILL)
            raise AssertionError("the daemon does not end")
    finally:
        os.close(descriptor)
