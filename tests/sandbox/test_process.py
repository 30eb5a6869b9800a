"""The sandbox as the process that it is, used by the official client over real sockets."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import unittest
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from openai import AzureOpenAI, BadRequestError, OpenAI
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.testing import MemoryReactorClock
from zope.interface.verify import verifyObject

from gptproxy.sandbox.__main__ import EndOfInput, main

ROOT = Path(__file__).resolve().parents[2]


@contextlib.contextmanager
def sandbox(
    *options: str, stderr: int | None = None
) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    """A running sandbox and its addresses; it is gone afterwards."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "gptproxy.sandbox", *options]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, stdin=pipe, stdout=pipe, stderr=stderr, env=environment, text=True
    ) as process:
        try:
            assert process.stdout is not None
            yield process, json.loads(process.stdout.readline())
        finally:
            process.kill()


class ProcessTests(unittest.TestCase):
    """One process, all the stand-ins."""

    def test_the_official_client_is_served(self) -> None:
        """Chats, streams, tools, embeddings, models and errors, as the client expects them."""
        with sandbox() as (process, addresses):
            openai = OpenAI(
                base_url=addresses["openai"], api_key="sk-sandbox-openai", max_retries=0
            )
            said = openai.chat.completions.create(
                model="gpt-4o", messages=[{"role": "user", "content": "hello"}]
            )
            self.assertIn("hello", str(said.choices[0].message.content))
            stream = openai.chat.completions.create(
                model="gpt-4o",
                messages=[{"role": "user", "content": "hello"}],
                stream=True,
                stream_options={"include_usage": True},
            )
            chunks = list(stream)
            text = "".join(c.delta.content or "" for chunk in chunks for c in chunk.choices)
            self.assertEqual(text, said.choices[0].message.content)
            self.assertEqual(chunks[-1].usage, said.usage)
            vector = openai.embeddings.create(model="text-embedding-ada-002", input="hello")
            self.assertEqual(len(vector.data[0].embedding), 1536)
            self.assertIn("gpt-4", [model.id for model in openai.models.list()])
            upload = openai.files.create(file=("a.bin", b"\x00\r\n" * 9), purpose="assistants")
            self.assertEqual(upload.bytes, 27)

            azure = AzureOpenAI(
                azure_endpoint=addresses["azure"],
                api_key="azure-key-primary",
                api_version="2024-10-21",
                max_retries=0,
            )
            called = azure.chat.completions.create(
                model="gpt-4",
                messages=[{"role": "user", "content": "call the tool"}],
                tools=[{"type": "function", "function": {"name": "f"}}],
            )
            self.assertEqual(called.choices[0].finish_reason, "tool_calls")
            with self.assertRaises(BadRequestError) as caught:
                azure.chat.completions.create(
                    model="gpt-4",
                    messages=[{"role": "user", "content": "sandbox:content-filter"}],
                )
            self.assertEqual(caught.exception.code, "content_filter")
            process.send_signal(signal.SIGTERM)
            self.assertEqual(process.wait(), 0)

    def test_it_ends_with_its_input_where_asked(self) -> None:
        """A parent that dies takes it along."""
        with sandbox("--until-stdin-closes") as (process, _):
            assert process.stdin is not None
            process.stdin.write("this is ignored\n")
            process.stdin.close()
            self.assertEqual(process.wait(), 0)

    def test_ended_twice_it_ends_quietly(self) -> None:
        """A parent that goes down may do both at once."""
        with sandbox("--until-stdin-closes", stderr=subprocess.PIPE) as (process, _):
            process.send_signal(signal.SIGSTOP)  # so that it sees both in one turn
            process.terminate()
            assert process.stdin is not None
            assert process.stderr is not None
            process.stdin.close()
            process.send_signal(signal.SIGCONT)
            self.assertEqual((process.stderr.read(), process.wait()), ("", 0))

    def test_a_port_in_use_is_one_line(self) -> None:
        """Status 1, and the port named, without a traceback."""
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = str(taken.getsockname()[1])
            command = [sys.executable, "-m", "gptproxy.sandbox", "--azure-secondary", port]
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True, check=False
            )
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn(port, done.stderr)
        self.assertEqual(done.stderr.count("\n"), 1)


class EndOfInputTests(unittest.TestCase):
    """The watch on standard input, on a pipe."""

    def test_it_tells_once(self) -> None:
        """Bytes are ignored; the end is told once, though it may be seen twice."""
        ended: list[int] = []
        reading, writing = os.pipe()
        watch = EndOfInput(reading, lambda: ended.append(1))
        verifyObject(IReadDescriptor, watch)
        self.assertEqual((watch.fileno(), watch.logPrefix()), (reading, "standard input"))
        os.write(writing, b"x")
        watch.doRead()
        self.assertEqual(ended, [])
        os.close(writing)
        watch.doRead()
        watch.connectionLost(None)
        self.assertEqual(ended, [1])
        os.close(reading)


class _Refusing(MemoryReactorClock):
    """A reactor on which nothing can listen, for the given reason."""

    def __init__(self, reason: Exception | None) -> None:
        super().__init__()
        self._reason = reason

    def listenTCP(self, *arguments: Any, **named: Any) -> Any:
        """Refuse, where there is a reason to."""
        if self._reason is not None:
            raise self._reason
        return super().listenTCP(*arguments, **named)


class MainTests(unittest.TestCase):
    """The command, with a reactor in memory that stops as soon as it has started."""

    def main(self, reason: Exception | None, *arguments: str) -> tuple[int, str, str]:
        """:return: the status, and what is printed on standard output and error."""
        out, err = io.StringIO(), io.StringIO()
        reading, writing = os.pipe()
        with (
            os.fdopen(reading) as standard_input,
            mock.patch("twisted.internet.reactor", _Refusing(reason), create=True),
            mock.patch("gptproxy.sandbox.__main__.globalLogBeginner"),
            mock.patch("sys.stdin", standard_input),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            status = main(arguments)
        os.close(writing)
        return status, out.getvalue(), err.getvalue()

    def test_addresses_are_one_line(self) -> None:
        """JSON with all four, and status 0."""
        status, out, err = self.main(None, "--until-stdin-closes", "--gitlab", "8929")
        self.assertEqual((status, err, out.count("\n")), (0, "", 1))
        addresses = json.loads(out)
        self.assertEqual(addresses["gitlab"], "http://127.0.0.1:8929")
        self.assertEqual(list(addresses), ["openai", "azure", "azure_secondary", "gitlab"])

    def test_failures_are_status_1(self) -> None:
        """A port in use is one line; what nobody foresaw is shown whole."""
        status, _, err = self.main(CannotListenError("127.0.0.1", 80, OSError("in use")))
        self.assertEqual((status, err.count("\n")), (1, 1))
        status, _, err = self.main(RuntimeError("odd"))
        self.assertEqual(status, 1)
        self.assertIn("Traceback", err)
