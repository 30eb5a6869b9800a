"""
``gptproxy docs``: documents into the knowledge database, with progress for whoever watches.

May import the config, HTTP and knowledge rooms, and the modules that put them together.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO, cast

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import react

from gptproxy.config import ConfigurationError, KnowledgeSettings, Problem, Settings, load_settings
from gptproxy.daemon import agent_for, own_calls
from gptproxy.documents import embed_with, search_threads
from gptproxy.http import IReactor
from gptproxy.knowledge import FeedReport, KnowledgeError, Progress, feed
from gptproxy.upstream import NoEmbeddings
from gptproxy.wire import Refusal

__all__ = ["add_documents"]

EMBEDDING_SECONDS = 300.0
"""How long one batch of embeddings may take at one upstream, retries included: nobody waits in a chat."""

INTERRUPTED = 130
"""The shell's status for Ctrl-C."""


class _ProgressLine:
    """
    Tells how far it is: on a terminal in one line that is written over, in a log a line for every tenth part.

    :param output: where to.
    """

    def __init__(self, output: TextIO) -> None:
        self._output = output
        self._terminal = output.isatty()
        self._tenths_told = 0

    def tell(self, progress: Progress) -> None:
        """
        :param progress: how far it is.
        """
        total = progress.total_documents
        text = f"{progress.done_documents}/{total} documents, {progress.passages} passages"
        if self._terminal:
            self._output.write(f"\r\x1b[K{text}  {Path(progress.current_path).name[:40]}")
            self._output.flush()
            return
        tenths = progress.done_documents * 10 // total if total else 10
        if tenths > self._tenths_told:
            self._tenths_told = tenths
            self._output.write(f"{text}\n")
            self._output.flush()

    def end(self) -> None:
        """Leave the line, so that what follows stands alone."""
        if self._terminal:
            self._output.write("\r\x1b[K")


def add_documents(config: Path | None, collection: str, paths: Sequence[Path]) -> int:
    """
    :param config: the configuration file; None: as the daemon looks for it.
    :param collection: the collection's name.
    :param paths: files and folders.
    :return: the exit status.
    :raise ConfigurationError: the configuration is wrong, or names no knowledge database; or a path is not there.
    """
    settings = load_settings(config, environ=os.environ, working_directory=Path.cwd())
    knowledge = settings.knowledge
    if knowledge is None:
        problem = Problem(settings.source, "knowledge", "missing: name the database to fill")
        raise ConfigurationError([problem])
    missing = [Problem(str(path), "", why) for path in paths if (why := _why_not_there(path))]
    if missing:
        # A misspelt name among many would else be one line above a report that looks well.
        raise ConfigurationError(missing)
    status = INTERRUPTED

    async def run(reactor: IReactor) -> None:
        nonlocal status
        status = await _add(reactor, settings, knowledge, collection, paths)

    def start(reactor: object) -> Deferred[None]:
        running = cast(IReactor, reactor)
        adding = Deferred.fromCoroutine(run(running))
        ended: Deferred[None] = Deferred()

        def end(result: object) -> object:
            ended.callback(None)
            return result

        def stop() -> Deferred[None]:
            adding.cancel()
            return ended

        # Ctrl-C stops the reactor; what is under way is dropped, what is stored stays. The reactor waits until the
        # threads are gone, or the process would wait for them when nobody can tell them any more.
        running.addSystemEventTrigger("before", "shutdown", stop)
        adding.addErrback(lambda failure: failure.trap(CancelledError) and None)
        return adding.addBoth(end)

    try:
        react(start, ())
    except SystemExit as end:
        if end.code:
            return 1
    if status == INTERRUPTED:
        sys.stderr.write(
            "gptproxy: interrupted; what was added stays, and the same command goes on from here\n"
        )
    return status


def _why_not_there(path: Path) -> str:
    """:return: why nothing can be found under a path; nothing where something can."""
    try:
        path.stat()
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return ""


async def _add(
    reactor: IReactor,
    settings: Settings,
    knowledge: KnowledgeSettings,
    collection: str,
    paths: Sequence[Path],
) -> int:
    agent = agent_for(settings, reactor)
    threads = search_threads(reactor)
    threads.startService()
    line = _ProgressLine(sys.stderr)
    try:
        report = await feed(
            knowledge.database,
            collection,
            paths,
            embed=embed_with(settings, knowledge, own_calls(agent, reactor), EMBEDDING_SECONDS),
            model=knowledge.embedding_model,
            threads=threads,
            progress=line.tell,
        )
    except (KnowledgeError, NoEmbeddings) as error:
        line.end()
        sys.stderr.write(f"gptproxy: {error}\n")
        return 1
    except Refusal as refusal:
        problem = Problem(settings.source, "knowledge.embedding_model", refusal.message)
        sys.stderr.write(f"gptproxy: {problem}\n")
        return 1
    finally:
        line.end()
        await threads.stopService()
        agent.close()
    _print_report(report, collection)
    return 0 if report.written or report.unchanged else 1


def _print_report(report: FeedReport, collection: str) -> None:
    for skipped in report.skipped:
        sys.stderr.write(f"skipped {skipped.path}: {skipped.reason}\n")
    sys.stdout.write(
        f"{collection}: {report.written} documents added or changed ({report.passages} passages), "
        f"{report.unchanged} unchanged, {len(report.skipped)} skipped\n"
    )
