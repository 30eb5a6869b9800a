"""
The ``gptproxy`` command: its arguments, and which module does what they ask.

May import any room; imports those that a subcommand needs when it is asked for.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from gptproxy import __version__
from gptproxy.config import ConfigurationError
from gptproxy.config.checks import is_printable

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
    try:
        if chosen.command == "try":
            from gptproxy.tryout import try_it

            return try_it(chosen.port)
        from gptproxy.documents_command import add_documents

        return add_documents(chosen.config, chosen.collection, chosen.path)
    except ConfigurationError as error:
        for line in str(error).splitlines():
            sys.stderr.write(f"gptproxy: {line}\n")
        return 1
    except KeyboardInterrupt:
        # Before the reactor runs, which has its own way.
        sys.stderr.write("gptproxy: interrupted\n")
        return INTERRUPTED


def _port(text: str) -> int:
    """:return: a TCP port's number. argparse words the error that a ValueError is."""
    number = int(text)
    if not 0 <= number <= 65535:
        raise ValueError(text)
    return number


def _collection(text: str) -> str:
    """:return: a collection's name. argparse words the error that a ValueError is."""
    if not is_printable(text):
        raise ValueError(text)
    return text


_collection.__name__ = "name"
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

    docs = commands.add_parser("docs", help="the documents that chats are answered from")
    actions = docs.add_subparsers(dest="action", required=True, metavar="ACTION")
    add = actions.add_parser(
        "add",
        help="put files into a collection",
        description="Reads Markdown and text files, and folders of them, into a collection of the knowledge database. "
        "What has not changed since the last time is passed over; interrupted, it goes on where it stopped.",
    )
    add.add_argument(
        "--config", "-c", type=Path, help="configuration file (default: as the daemon's)"
    )
    add.add_argument(
        "collection",
        type=_collection,
        metavar="COLLECTION",
        help="its name, as [[topic]] documents has it",
    )
    add.add_argument("path", metavar="PATH", nargs="+", type=Path, help="a file or a folder")
    return parser
