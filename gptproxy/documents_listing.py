"""
``gptproxy docs list``, ``remove``, ``export`` and ``import``: what needs no network.

May import the config and knowledge rooms.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from gptproxy.config import ConfigurationError, KnowledgeSettings, Problem, load_settings
from gptproxy.knowledge import KnowledgeError
from gptproxy.knowledge.database import exclusively
from gptproxy.knowledge.export import export_lines, import_lines
from gptproxy.knowledge.indexing import build_indexes
from gptproxy.knowledge.inventory import CollectionRow, SourceRow, inventory
from gptproxy.knowledge.store import KnowledgeStore

__all__ = ["export_documents", "import_documents", "list_documents", "remove_documents"]


def list_documents(config: Path | None, collection: str | None) -> int:
    """
    ``docs list``.

    :param config: the configuration file; None: as the daemon looks for it.
    :param collection: which; None: all.
    :return: the exit status.
    :raise ConfigurationError: the configuration is wrong, or names no knowledge database.
    """
    database = _knowledge(config).database
    try:
        rows = inventory(database, collection)
    except KnowledgeError as error:
        return _failed(error)
    if collection is not None and not rows:
        return _failed(KnowledgeError(f"{database}: there is no collection {collection!r}"))
    for row, sources in rows:
        sys.stdout.write(f"{row.name}: {_vectors(row)}\n")
        for source in sources:
            sys.stdout.write(f"  {_described(source)}\n")
    return 0


def remove_documents(config: Path | None, collection: str, sources: Sequence[str]) -> int:
    """
    ``docs remove``.

    :param config: the configuration file; None: as the daemon looks for it.
    :param collection: from which.
    :param sources: which, as ``docs list`` shows them; none: all, and with them the collection.
    :return: the exit status.
    :raise ConfigurationError: the configuration is wrong, or names no knowledge database.
    """
    database = _knowledge(config).database
    try:
        if not database.exists():
            raise KnowledgeError(f"{database}: there is no such knowledge database")
        with exclusively(database), closing(KnowledgeStore(database)) as store:
            known = {row.spec: row.source_id for row in store.sources(collection)}
            if not known:
                raise KnowledgeError(f"{database}: there is no collection {collection!r}")
            wanted = [_spec(source, known) for source in sources] or list(known)
            unknown = [spec for spec in wanted if spec not in known]
            if unknown:
                raise KnowledgeError(
                    f"{collection}: has no source {unknown[0]!r}; see `gptproxy docs list`"
                )
            store.mark_removed(known[spec] for spec in wanted)
            store.sweep()
        build_indexes(database)
    except KnowledgeError as error:
        return _failed(error)
    sys.stdout.write(f"{collection}: {len(set(wanted))} sources removed\n")
    return 0


def export_documents(config: Path | None, collection: str, output: Path | None) -> int:
    """
    ``docs export``.

    :param config: the configuration file; None: as the daemon looks for it.
    :param collection: which.
    :param output: the file to write, in place of one that is there; None: standard output.
    :return: the exit status.
    :raise ConfigurationError: the configuration is wrong, or names no knowledge database.
    """
    lines = export_lines(_knowledge(config).database, collection)
    try:
        if output is None:
            sys.stdout.flush()
            sys.stdout.buffer.writelines(lines)
            sys.stdout.buffer.flush()
        else:
            _write_whole(output, lines)
    except (KnowledgeError, OSError) as error:
        return _failed(error)
    return 0


def import_documents(config: Path | None, source: Path | None, collection: str | None) -> int:
    """
    ``docs import``.

    :param config: the configuration file; None: as the daemon looks for it.
    :param source: the file to read; None: standard input.
    :param collection: its name here; None: as it was written.
    :return: the exit status.
    :raise ConfigurationError: the configuration is wrong, or names no knowledge database.
    """
    database = _knowledge(config).database
    try:
        if source is None:
            name, documents, passages = import_lines(database, sys.stdin.buffer, collection)
        else:
            with source.open("rb") as lines:
                name, documents, passages = import_lines(database, lines, collection)
        build_indexes(database)
    except (KnowledgeError, OSError) as error:
        return _failed(error)
    sys.stdout.write(f"{name}: {documents} documents added or changed ({passages} passages)\n")
    return 0


def _knowledge(config: Path | None) -> KnowledgeSettings:
    settings = load_settings(config, environ=os.environ, working_directory=Path.cwd())
    if settings.knowledge is None:
        problem = Problem(settings.source, "knowledge", "missing: name the database")
        raise ConfigurationError([problem])
    return settings.knowledge


def _failed(error: Exception) -> int:
    sys.stderr.write(f"gptproxy: {error}\n")
    return 1


def _spec(source: str, known: dict[str, int]) -> str:
    """:return: as it was noted when it was added."""
    return source if source in known else str(Path(source).absolute())


def _vectors(row: CollectionRow) -> str:
    told = f"{row.passages} passages"
    if row.model is None:
        told += ", found by words alone"
    else:
        length = "" if row.dimensions is None else f" ({row.dimensions} dimensions)"
        missing = row.passages - row.vectors
        told += f", {row.model}{length}" + (
            f", {missing} of them without vectors" if missing else ""
        )
    if row.building is not None:
        told += (
            f"; {row.built} are embedded with {row.building}, to which `gptproxy docs sync` goes on"
        )
    return told


def _described(source: SourceRow) -> str:
    read = "not read to its end yet"
    if source.synced_at is not None:
        read = f"read {datetime.fromtimestamp(source.synced_at, UTC):%Y-%m-%d %H:%M} UTC"
    members = ", for the project's members only" if source.members_only else ""
    return (
        f"{source.spec}: {source.documents} documents, {source.passages} passages, {read}{members}"
    )


def _write_whole(output: Path, lines: Iterator[bytes]) -> None:
    """What is there already stays until all of it is written."""
    unfinished = output.with_name(f"{output.name}.part")
    try:
        with unfinished.open("wb") as file:
            os.fchmod(file.fileno(), 0o600)
            file.writelines(lines)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(output)
    finally:
        unfinished.unlink(missing_ok=True)
