"""
The ``gptproxy`` command: its arguments, and which module does what they ask.

May import any room; imports those that a subcommand needs when it is asked for.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from gptproxy import __version__
from gptproxy.config import ConfigurationError
from gptproxy.documents_arguments import docs_arguments, docs_done
from gptproxy.service_environment import service_environment

__all__ = ["main"]

INTERRUPTED = 130
"""The shell's status for Ctrl-C."""


def main(arguments: Sequence[str] | None = None) -> int:
    """
    :param arguments: the command line behind the command's name; None takes the process's.
    :return: the exit status: 0, 1 where something could not be done, 130 where it was interrupted.
    """
    parser = _parser()
    chosen = parser.parse_args(arguments)
    if "config" in chosen:
        os.environ.update(service_environment(os.environ, chosen.config))
    try:
        status = _done(chosen)
        if sys.stdout is not None:
            sys.stdout.flush()
        return status
    except ConfigurationError as error:
        for line in str(error).splitlines():
            sys.stderr.write(f"gptproxy: {line}\n")
        return 1
    except BrokenPipeError:
        # As with `| head`: who read has enough. Nothing is flushed to it when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        # Before the reactor runs, which has its own way.
        sys.stderr.write("gptproxy: interrupted\n")
        return INTERRUPTED


def _done(chosen: argparse.Namespace) -> int:
    """:return: the exit status."""
    if chosen.command == "try":
        from gptproxy.tryout import try_it

        return try_it(chosen.port)
    if chosen.command == "setup":
        from gptproxy.setup_command import set_up, write_units

        return (write_units if chosen.systemd else set_up)(chosen.config)
    if chosen.command == "check":
        from gptproxy.check_command import check_it

        return check_it(chosen.config, online=chosen.online, ports=chosen.ports)
    if chosen.command == "status":
        from gptproxy.status_command import show_status

        return show_status(chosen.config, watch=chosen.watch)
    return docs_done(chosen)


def _port(text: str) -> int:
    """:return: a TCP port's number. argparse words the error that a ValueError is."""
    number = int(text)
    if not 0 <= number <= 65535:
        raise ValueError(text)
    return number


_port.__name__ = "port"  # what argparse calls it


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gptproxy",
        description="A gateway between an organisation's OpenAI clients and OpenAI or Azure OpenAI. "
        "The daemon itself is started by: twistd gptproxy --config FILE --port ssl:443",
    )
    parser.add_argument("--version", action="version", version=f"gptproxy {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    trial = commands.add_parser(
        "try",
        help="start a gateway that needs no keys, in front of stand-ins for OpenAI, Azure and GitLab",
        description="Starts the daemon in front of loopback stand-ins for OpenAI, Azure and GitLab, with a small "
        "collection of documents, and prints commands to paste. Nothing leaves this machine; Ctrl-C ends it.",
    )
    trial.add_argument(
        "--port",
        type=_port,
        help="port on 127.0.0.1; 0 takes any (default: 8443, or another one where that is taken)",
    )

    setup = commands.add_parser(
        "setup",
        help="ask for what the configuration cannot do without, check it, and write it",
        description="Asks for GitLab's address, an upstream and its key, checks them online, and writes the "
        "configuration; prints the first call to try.",
    )
    _config_argument(setup)
    setup.add_argument(
        "--systemd",
        action="store_true",
        help="write the systemd units of this installation instead, for a venv without a package",
    )

    check = commands.add_parser(
        "check",
        help="say what is wrong with the configuration, the files that it names, and the documents",
        description="Says what is wrong with the configuration, with files of secrets, the certificate and the "
        "documents: everything, not the first thing alone. The exit status is 1 where there is an error; warnings are "
        "none.",
    )
    _config_argument(check)
    check.add_argument(
        "--online",
        action="store_true",
        help="ask the upstreams (for their models, which costs nothing) and GitLab (for its version), too",
    )
    check.add_argument(
        "--port",
        "-p",
        action="append",
        default=[],
        dest="ports",
        metavar="ENDPOINT",
        help="an endpoint that the daemon will be given: can it be had? May be repeated",
    )

    status = commands.add_parser(
        "status",
        help="show how the running daemon is",
        description="Shows how the running daemon is: asks the listener that [admin] listen names.",
    )
    _config_argument(status)
    status.add_argument("--watch", action="store_true", help="show it anew every two seconds")

    docs_arguments(commands.add_parser("docs", help="the documents that chats are answered from"))
    return parser


def _config_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config",
        "-c",
        type=Path,
        help="configuration file (default: /etc/gptproxy/gptproxy.toml)",
    )
