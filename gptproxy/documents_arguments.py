"""
The arguments of ``gptproxy docs``, and which function does what they ask.

May import any room; imports those that a subcommand needs when it is asked for.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from gptproxy.config.checks import is_printable

__all__ = ["docs_arguments", "docs_done"]


def docs_done(chosen: argparse.Namespace) -> int:
    """
    Do what was asked for.

    :param chosen: the arguments.
    :return: the exit status.
    :raise gptproxy.config.ConfigurationError: the configuration is wrong.
    """
    from gptproxy import documents_command, documents_listing

    match chosen.action:
        case "add":
            return documents_command.add_documents(
                chosen.config,
                chosen.collection,
                chosen.source,
                members_only=chosen.members_only,
                embeddings=chosen.embeddings,
            )
        case "sync":
            return documents_command.sync_documents(
                chosen.config, chosen.collection, embeddings=chosen.embeddings
            )
        case "search":
            return documents_command.search_documents(
                chosen.config, chosen.collection, chosen.question
            )
        case "list":
            return documents_listing.list_documents(chosen.config, chosen.collection)
        case "remove":
            return documents_listing.remove_documents(
                chosen.config, chosen.collection, chosen.source
            )
        case "export":
            return documents_listing.export_documents(
                chosen.config, chosen.collection, chosen.output
            )
        case _:
            return documents_listing.import_documents(chosen.config, chosen.file, chosen.collection)


def docs_arguments(docs: argparse.ArgumentParser) -> None:
    """
    Describe the arguments.

    :param docs: the parser of ``docs``, to which they are added.
    """
    actions = docs.add_subparsers(dest="action", required=True, metavar="ACTION")

    def action(name: str, does: str, more: str = "") -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = actions.add_parser(
            name, help=does, description=f"{does[0].upper()}{does[1:]}. {more}".strip()
        )
        parser.add_argument(
            "--config", "-c", type=Path, help="configuration file (default: as the daemon's)"
        )
        return parser

    add = action(
        "add",
        "put documents into a collection",
        "Reads Markdown, reStructuredText, HTML, text, source code and, with pypdf, PDF. What has not changed since "
        "the last time is passed over; interrupted, the same command goes on where it stopped.",
    )
    _with_collection(add)
    add.add_argument(
        "source",
        metavar="SOURCE",
        nargs="+",
        help="a file, a folder, a Git checkout (its tracked files), or gitlab:group/project[@ref][:path] (its "
        "repository, and without a path its wiki)",
    )
    add.add_argument(
        "--members-only",
        action="store_true",
        help="what is from a GitLab project is for that project's members only",
    )
    _with_embeddings(add)

    sync = action(
        "sync",
        "read all sources again and change what has changed",
        "With another embedding model in the configuration, every passage is embedded anew beside the vectors that "
        "are there, which answer until all of them are made.",
    )
    _with_collection(sync, nargs="?")
    _with_embeddings(sync)

    listing = action("list", "show collections and their sources")
    _with_collection(listing, nargs="?")

    remove = action("remove", "remove sources, or a whole collection")
    _with_collection(remove)
    remove.add_argument(
        "source", metavar="SOURCE", nargs="*", help="as `list` shows it; without any, all of them"
    )

    search = action("search", "show the passages that are found for a question")
    _with_collection(search)
    search.add_argument("question", metavar="QUESTION", help="in quotes")

    export = action("export", "write a collection as JSON lines, its vectors included")
    _with_collection(export)
    export.add_argument("--output", "-o", type=Path, help="file to write (default: stdout)")

    back = action(
        "import",
        "read a collection that `export` wrote",
        "What the database has already stays; interrupted, it goes on when it is done again.",
    )
    back.add_argument(
        "file", metavar="FILE", nargs="?", type=Path, help="file to read (default: stdin)"
    )
    back.add_argument("--collection", type=_name, help="its name here (default: as written)")


def _with_collection(parser: argparse.ArgumentParser, *, nargs: str | None = None) -> None:
    parser.add_argument(
        "collection",
        type=_name,
        metavar="COLLECTION",
        nargs=nargs,
        help="its name, as [[topic]] documents has it" + (" (default: all)" if nargs else ""),
    )


def _with_embeddings(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--without-embeddings",
        dest="embeddings",
        action="store_false",
        help="ask no upstream for vectors: what is new is found by its words alone until a `sync` without this",
    )


def _name(text: str) -> str:
    """:return: a collection's name. argparse words the error that a ValueError is."""
    if not is_printable(text):
        raise ValueError(text)
    return text


_name.__name__ = "name"  # what argparse calls it
