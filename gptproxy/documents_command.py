"""
``gptproxy docs``: documents into the knowledge database, what is in it, and out of it again.

May import the config, HTTP and knowledge rooms, and the modules that put them together.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import cast

from attrs import frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import react

from gptproxy.config import ConfigurationError, KnowledgeSettings, Problem, Settings, load_settings
from gptproxy.daemon import agent_for
from gptproxy.documents_threads import command_threads
from gptproxy.documents_work import Work
from gptproxy.http import IReactor
from gptproxy.knowledge import KnowledgeError
from gptproxy.knowledge.feeding import FeedReport
from gptproxy.knowledge.gitlab_source import GitLabPlace
from gptproxy.knowledge.indexing import build_indexes
from gptproxy.progress_line import ProgressLine
from gptproxy.upstream import NoEmbeddings
from gptproxy.wire import Refusal

__all__ = ["add_documents", "search_documents", "sync_documents"]

INTERRUPTED = 130
"""The shell's status for Ctrl-C."""


@frozen
class _Configured:
    """What a command works with."""

    settings: Settings
    knowledge: KnowledgeSettings


def add_documents(
    config: Path | None,
    collection: str,
    sources: Sequence[str],
    *,
    members_only: bool = False,
    embeddings: bool = True,
) -> int:
    """
    ``docs add``.

    :param config: the configuration file; None: as the daemon looks for it.
    :param collection: the collection's name.
    :param sources: files, folders, Git checkouts, ``gitlab:group/project[@ref][:path]``.
    :param members_only: only members of a GitLab project may read what is from it.
    :param embeddings: ask for vectors; else the passages are found by their words alone.
    :return: the exit status.
    :raise ConfigurationError: the configuration is wrong, or names no knowledge database; or a path is not there.
    """
    configured = _configured(config)
    wrong = [Problem(source, "", why) for source in sources if (why := _why_no_source(source))]
    if wrong:
        # A misspelt name among many would else be one line above a report that looks well.
        raise ConfigurationError(wrong)

    async def add(work: Work, line: ProgressLine) -> int:
        opened = [work.source(source) for source in sources]
        feeding = work.feeding(line, embeddings=embeddings)
        report = await feeding.feed(collection, opened, members_only=members_only)
        await work.threads.run(build_indexes, configured.knowledge.database)
        line.end()
        _print_report(report, f"{collection}: ")
        done = report.written or report.unchanged or report.removed
        return 0 if done and not report.unread else 1

    return _run(configured, add)


def sync_documents(config: Path | None, collection: str | None, *, embeddings: bool = True) -> int:
    """
    ``docs sync``.

    :param config: the configuration file; None: as the daemon looks for it.
    :param collection: whose sources are read again; None: all collections'.
    :param embeddings: ask for vectors; else what is new is found by its words alone.
    :return: the exit status.
    :raise ConfigurationError: the configuration is wrong, or names no knowledge database.
    """
    configured = _configured(config)

    async def sync(work: Work, line: ProgressLine) -> int:
        feeding = work.feeding(line, embeddings=embeddings)
        report = await feeding.sync(work.source, collection)
        await work.threads.run(build_indexes, configured.knowledge.database)
        line.end()
        _print_report(report, "")
        return 1 if report.unread else 0

    return _run(configured, sync)


def search_documents(config: Path | None, collection: str, question: str) -> int:
    """
    ``docs search``: what a chat would be given.

    :param config: the configuration file; None: as the daemon looks for it.
    :param collection: where to look.
    :param question: what to look for.
    :return: the exit status: 1 where nothing is found.
    :raise ConfigurationError: the configuration is wrong, or names no knowledge database.
    """

    async def search(work: Work, line: ProgressLine) -> int:
        passages = await work.found(collection, question)
        for number, passage in enumerate(passages, 1):
            where = f"{passage.source} / {passage.heading}" if passage.heading else passage.source
            sys.stdout.write(f"[{number}] {passage.score:.4f}  {where}\n")
            sys.stdout.writelines(f"    {text}\n" for text in passage.text.splitlines())
            sys.stdout.write("\n")
        if not passages:
            sys.stderr.write(f"gptproxy: {collection}: nothing is found\n")
        return 0 if passages else 1

    return _run(_configured(config), search)


def _configured(config: Path | None) -> _Configured:
    settings = load_settings(config, environ=os.environ, working_directory=Path.cwd())
    if settings.knowledge is None:
        problem = Problem(settings.source, "knowledge", "missing: name the database to fill")
        raise ConfigurationError([problem])
    return _Configured(settings, settings.knowledge)


def _why_no_source(source: str) -> str:
    """:return: why nothing can be read from there; "" where it may be."""
    if source.startswith("gitlab:"):
        if GitLabPlace.parsed(source) is None:
            return "must be gitlab:group/project, with @ref and :path behind it where wanted"
        return ""
    try:
        source.encode()
    except UnicodeEncodeError:
        return "its name is not UTF-8, which the database could not write down"
    try:
        Path(source).stat()
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return ""


def _run(configured: _Configured, what: Callable[[Work, ProgressLine], Awaitable[int]]) -> int:
    """:return: the exit status of work that the reactor does, which Ctrl-C ends at any moment."""
    status = INTERRUPTED

    async def run(reactor: IReactor) -> None:
        nonlocal status
        status = await _worked(reactor, configured, what)

    def start(reactor: object) -> Deferred[None]:
        running = cast(IReactor, reactor)
        working = Deferred.fromCoroutine(run(running))
        ended: Deferred[None] = Deferred()

        def end(result: object) -> object:
            ended.callback(None)
            return result

        def stop() -> Deferred[None]:
            working.cancel()
            return ended

        # Ctrl-C stops the reactor; what is under way is dropped, what is stored stays. The reactor waits until the
        # threads are gone, or the process would wait for them when nobody can tell them any more.
        running.addSystemEventTrigger("before", "shutdown", stop)
        working.addErrback(lambda failure: failure.trap(CancelledError) and None)
        return working.addBoth(end)

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


async def _worked(
    reactor: IReactor,
    configured: _Configured,
    what: Callable[[Work, ProgressLine], Awaitable[int]],
) -> int:
    settings, knowledge = configured.settings, configured.knowledge
    agent = agent_for(settings, reactor)
    threads = command_threads(reactor)
    threads.startService()
    line = ProgressLine(sys.stderr, reactor.seconds)
    try:
        return await what(Work(settings, knowledge, agent, threads, reactor), line)
    except (KnowledgeError, NoEmbeddings) as error:
        line.end()
        sys.stderr.write(f"gptproxy: {error}\n")
        return 1
    except Refusal as refusal:
        problem = Problem(settings.source, "knowledge.embedding_model", refusal.message)
        sys.stderr.write(
            f"gptproxy: {problem}\ngptproxy: with --without-embeddings, passages are found by their words alone\n"
        )
        return 1
    finally:
        line.end()
        await threads.stopService()
        agent.close()


def _print_report(report: FeedReport, whose: str) -> None:
    for skipped in report.skipped:
        sys.stderr.write(f"skipped {skipped.path}: {skipped.reason}\n")
    for unread in report.unread:
        sys.stderr.write(f"not read {unread.path}: {unread.reason}; what was fed of it stays\n")
    sys.stdout.write(
        f"{whose}{report.written} documents added or changed ({report.passages} passages), "
        f"{report.unchanged} unchanged, {report.removed} removed, {len(report.skipped)} skipped\n"
    )
