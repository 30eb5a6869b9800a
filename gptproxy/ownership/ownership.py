"""
The table of objects as the rooms above ask it: in threads, with the last answers remembered.

May import this room, the threads, the wire room and Twisted.
"""

from __future__ import annotations

import sqlite3
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from typing import Final, ParamSpec, Protocol, TypeVar

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger

from gptproxy.ownership.objects import LONGEST_ID, ObjectTable, StoredObject
from gptproxy.threads import Threads, TooBusy
from gptproxy.wire import Refusal

__all__ = ["Ownership", "not_found"]

_P = ParamSpec("_P")
_T = TypeVar("_T")

REMEMBERED: Final = 10_000
"""Objects whose row is known without asking: 3 to 4 MiB. A conversation asks for the same few again and again."""

TIDIED_EVERY: Final = 1_000
"""Records after which old rows are looked for, at most ten times as many at once."""


class ServedThreads(Threads, Protocol):
    """Threads that are started and stopped."""

    def startService(self) -> None:
        """Start."""

    def stopService(self) -> Deferred[None]:
        """
        Stop.

        :return: fires when the last has ended.
        """
        ...  # pragma: no cover - a protocol's method has no body to run


class Ownership(Service):
    """
    :param table: asked in threads only.
    :param threads: run the questions; started and stopped along with this.
    :param now: Unix time.
    """

    _log = Logger()

    def __init__(
        self, table: ObjectTable, threads: ServedThreads, now: Callable[[], float]
    ) -> None:
        self._table = table
        self._threads = threads
        self._now = now
        self._known: OrderedDict[str, StoredObject] = OrderedDict()
        self._recorded = TIDIED_EVERY  # the first record tidies up behind the process before

    def startService(self) -> None:
        """Start the threads."""
        super().startService()
        self._threads.startService()

    def stopService(self) -> Deferred[None]:
        """
        Let the file go, when the threads have ended.

        :return: fires then.
        """
        super().stopService()
        stopping: Deferred[None] = maybeDeferred(self._threads.stopService)
        return stopping.addCallback(lambda _: self._table.close())

    async def find(self, ids: Collection[str]) -> dict[str, StoredObject]:
        """
        :param ids: any texts.
        :return: by id, those objects that were made through the gateway.
        :raise Refusal: 503, when that cannot be known now.
        """
        found: dict[str, StoredObject] = {}
        unknown: list[str] = []
        for each in dict.fromkeys(ids):
            known = self._known.get(each)
            if known is not None:
                self._known.move_to_end(each)
                found[each] = known
            elif 0 < len(each) <= LONGEST_ID:
                unknown.append(each)
        if unknown:
            for row in await self._run(self._table.find, unknown):
                self._remember(row)
                found[row.id] = row
        return found

    async def record(self, owner: str, upstream: str, made: Sequence[tuple[str, str]]) -> None:
        """
        Keep what a caller made. Returns when it is kept.

        :param owner: the caller's.
        :param upstream: the name of the one that keeps the objects.
        :param made: ids and kinds.
        :raise Refusal: 503, when they cannot be kept now.
        """
        created = int(self._now())
        new = [
            StoredObject(each, kind, owner, upstream, created)
            for each, kind in dict(made).items()
            if 0 < len(each) <= LONGEST_ID and each not in self._known
        ]
        if not new:
            return
        for row in await self._run(self._table.record, new):
            self._remember(row)
            if row.owner != owner:
                self._log.error(
                    "upstream {upstream} tells a new {kind} whose id another caller's object has",
                    upstream=upstream,
                    kind=row.kind,
                )
        self._recorded += len(new)
        if self._recorded >= TIDIED_EVERY:
            self._recorded = 0
            self._tidy()

    async def forget(self, *ids: str) -> None:
        """
        :param ids: of objects that are gone.
        :raise Refusal: 503, when that cannot be kept now.
        """
        for each in ids:
            self._known.pop(each, None)
        await self._run(self._table.forget, ids)

    async def places(self, owner: str, kind: str) -> dict[str, int]:
        """
        :param owner: the caller's.
        :param kind: of object.
        :return: the names of the upstreams that keep some of theirs, and how many.
        :raise Refusal: 503, when that cannot be known now.
        """
        return await self._run(self._table.places, owner, kind)

    async def models(self, owner: str) -> list[StoredObject]:
        """
        :param owner: the caller's.
        :return: the models that they made by fine-tuning.
        :raise Refusal: 503, when that cannot be known now.
        """
        return await self._run(self._table.owned_models, owner)

    def _remember(self, row: StoredObject) -> None:
        self._known[row.id] = row
        self._known.move_to_end(row.id)
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)

    def _tidy(self) -> None:
        tidying: Deferred[int] = self._threads.run(self._table.forget_old, self._now())
        tidying.addErrback(
            lambda failure: self._log.failure("forgetting old objects failed", failure)
        )

    async def _run(self, question: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        try:
            return await self._threads.run(question, *args, **kwargs)
        except (TooBusy, sqlite3.Error) as error:
            raise Refusal(
                503,
                "The gateway cannot look up whose object this is at the moment: try again.",
                error_type="server_error",
                code="objects_unavailable",
                headers=((b"retry-after", b"1"),),
                cause=f"[access] objects: {type(error).__name__}: {error}",
            ) from error


def not_found(identity: str) -> Refusal:
    """
    :param identity: an id that is not one of the caller's.
    :return: a 404 as OpenAI words it for what does not exist.
    """
    return Refusal(404, f"No such object: {identity[:100]}", code=None, param="id")
