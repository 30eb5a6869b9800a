"""
``gptproxy try``: the whole product on this machine, without a key, in front of stand-ins.

May import this package's ``__init__`` and the standard library, and cryptography for the certificate; the sandbox, the
documents and the daemon run as processes of their own, as they do in earnest.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
import os
import shlex
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

__all__ = ["configuration", "try_it", "write_certificate"]

HOST = "127.0.0.1"
DEFAULT_PORT = 8443
TOKEN = "glpat-sandbox-alice"  # noqa: S105 - the sandbox's GitLab knows it, nobody else does
READY_SECONDS = 30.0
"""How long the daemon has to answer; it takes about one."""

_ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_TWISTD = "import sys; from twisted.scripts.twistd import run; sys.argv[0] = 'twistd'; run()"

_CONFIGURATION = """\
[gitlab]
url = "{gitlab}"

[[upstream]]
name = "primary"
kind = "azure"
url = "{azure}"
api_key = "azure-key-primary"
api_version = "2024-10-21"
[upstream.deployments]
"gpt-4o" = "gpt-4o"
"gpt-4" = "gpt-4"
"gpt-3.5-turbo" = "gpt-35-turbo"
"text-embedding-ada-002" = "text-embedding-ada-002"

[[upstream]]
name = "secondary"
kind = "azure"
url = "{azure_secondary}"
api_key = "azure-key-secondary"
api_version = "2024-10-21"
[upstream.deployments]
"gpt-4o" = "gpt-4o"
"gpt-4" = "gpt-4"

[[upstream]]
name = "openai"
kind = "openai"
url = "{openai}"
api_key = "sk-sandbox-openai"

[knowledge]
database = "knowledge.db"

[[topic]]
words = ["gptproxy"]
documents = "gptproxy"
prompt = "You answer questions about gptproxy from the documents below."
"""


def try_it(port: int | None) -> int:
    """
    Start everything, say how to call it, and wait until interrupted.

    :param port: on 127.0.0.1; None takes 8443, or a free one; 0 a free one.
    :return: the exit status.
    """
    # A parent or a terminal that ends this process is as good as Ctrl-C: the processes below go down with it.
    for number in _ENDS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup has it
            signal.signal(number, _interrupt)
    with ExitStack() as stack:
        try:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gptproxy-try-")))
            daemon, port = _start(stack, folder, port)
            _print_commands(port, folder / "cert.pem")
            status = daemon.wait()
        except KeyboardInterrupt:
            # What follows is bounded in time; another Ctrl-C would leave half of it undone.
            for number in _ENDS:
                signal.signal(number, signal.SIG_IGN)
            sys.stdout.write("\n")
            return 0
        except _NotStarted as error:
            sys.stderr.write(f"gptproxy: {error}\n")
            return 1
    sys.stderr.write(f"gptproxy: the daemon ended by itself with status {status}\n")
    return 1


def configuration(addresses: Mapping[str, str]) -> str:
    """
    :param addresses: of the sandbox's listeners, by role.
    :return: a configuration file in front of them.
    """
    return _CONFIGURATION.format_map(addresses)


def write_certificate(folder: Path) -> None:
    """
    Write ``cert.pem`` and ``key.pem``: self-signed, for this machine's loopback, good for a day.

    :param folder: where to.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "gptproxy try")])
    now = dt.datetime.now(dt.UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address(HOST))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private = folder / "key.pem"
    private.touch(mode=0o600)
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )


class _NotStarted(Exception):
    """A part did not start; the text says which."""


def _interrupt(_signal: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


def _start(stack: ExitStack, folder: Path, port: int | None) -> tuple[subprocess.Popen[str], int]:
    sandbox = stack.enter_context(
        _process("-m", "gptproxy.sandbox", "--until-stdin-closes", stdout=subprocess.PIPE)
    )
    line = sandbox.stdout.readline() if sandbox.stdout is not None else ""
    if not line:
        raise _NotStarted("the sandbox did not start")
    write_certificate(folder)
    config = folder / "gptproxy.toml"
    config.write_text(configuration(json.loads(line)), "utf-8")
    documents = Path(__file__).parent / "sandbox" / "documents"
    sys.stdout.write("Reading the built-in documents\n")
    sys.stdout.flush()
    arguments = (
        "-m",
        "gptproxy",
        "docs",
        "add",
        "--config",
        str(config),
        "gptproxy",
        str(documents),
    )
    with _process(*arguments) as adding:
        if adding.wait() != 0:
            raise _NotStarted("the built-in documents could not be read")
    port = _free_port(port)
    endpoint = f"ssl:{port}:interface={HOST}"
    daemon = stack.enter_context(
        _process(
            "-c",
            _TWISTD,
            "-n",
            "--pidfile=",
            "gptproxy",
            "--config",
            str(config),
            "--port",
            endpoint,
        )
    )
    _wait_until_ready(daemon, port)
    return daemon, port


@contextmanager
def _process(*arguments: str, stdout: int | None = None) -> Iterator[subprocess.Popen[str]]:
    """
    A Python process that finds the same gptproxy as this one, ended when the context is left, and not before: a
    terminal's Ctrl-C is for this process alone. Each would say something of its own about it.
    """
    home = str(Path(__file__).parent.parent)
    paths = [home, *filter(None, [os.environ.get("PYTHONPATH")])]
    process = subprocess.Popen(  # noqa: S603 - our own interpreter with our own arguments
        [sys.executable, *arguments],
        stdin=subprocess.PIPE,
        stdout=stdout,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()


def _free_port(wanted: int | None) -> int:
    """:return: the port that was asked for; where none was, 8443 if it is free, else any."""
    for port in (DEFAULT_PORT, 0) if wanted is None else (wanted,):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            found: int = probe.getsockname()[1]
            return found
    raise _NotStarted(
        f"port {wanted} on {HOST} is taken" if wanted else f"no port on {HOST} is free"
    )


def _wait_until_ready(daemon: subprocess.Popen[str], port: int) -> None:
    """Until a TLS handshake succeeds: a port that is merely open proves nothing."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        if daemon.poll() is not None:
            raise _NotStarted("the daemon did not start")
        try:
            with socket.create_connection((HOST, port), 1) as plain, context.wrap_socket(plain):
                return
        except OSError:
            time.sleep(0.05)
    raise _NotStarted("the daemon does not answer")


def _print_commands(port: int, certificate: Path) -> None:
    base = f"https://{HOST}:{port}/v1"
    question = "How does gptproxy decide when to retry?"

    def curl(options: str, body: dict[str, object]) -> str:
        return (
            f"curl {options} --cacert {certificate} {base}/chat/completions \\\n"
            f"  -H 'Authorization: Bearer {TOKEN}' -H 'Content-Type: application/json' \\\n"
            f"  -d {shlex.quote(json.dumps(body))}"
        )

    messages = [{"role": "user", "content": question}]
    code = (
        "from openai import OpenAI; "
        'print(OpenAI().chat.completions.create(model="gpt-4o", messages=[{"role": "user", '
        '"content": "Which token does gptproxy take as the API key?"}]).choices[0].message.content)'
    )
    python = (
        f"SSL_CERT_FILE={certificate} OPENAI_BASE_URL={base} OPENAI_API_KEY={TOKEN} \\\n"
        f"  {shlex.quote(sys.executable)} -c {shlex.quote(code)}"
    )
    if find_spec("openai") is None:
        python = f"{shlex.quote(sys.executable)} -m pip install openai && \\\n" + python
    sys.stdout.write(
        f"""
gptproxy is ready at {base}, in front of stand-ins for GitLab, Azure and OpenAI.
Paste these into another terminal:

{curl("-sS", {"model": "gpt-4o", "messages": messages})}

{curl("-sS -N", {"model": "gpt-4o", "stream": True, "messages": messages})}

{python}

A question with the word sandbox:content-filter is intercepted by the primary and answered by the secondary;
sandbox:429, sandbox:500 and sandbox:slow show other weather. Calls are logged below. Ctrl-C ends it.

"""
    )
    sys.stdout.flush()
