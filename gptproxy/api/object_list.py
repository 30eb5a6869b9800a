"""
Lists of stored objects: the upstream's pages, filtered to what is the caller's.

May import the access, upstream, HTTP and wire rooms, this room, and Twisted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import quote, unquote_plus

import orjson
from attrs import define, field, frozen
from twisted.logger import Logger
from twisted.web.client import ResponseDone

from gptproxy.access import Caller
from gptproxy.api.creation import claims_of, head_of
from gptproxy.api.endpoint import known_caller
from gptproxy.api.exchange import Exchange
from gptproxy.api.objects import Objects
from gptproxy.api.passed_call import PassedCall
from gptproxy.api.upstream_route import patience_of
from gptproxy.http import Response
from gptproxy.upstream import Call, Target, UpstreamAnswer
from gptproxy.wire import Refusal

__all__ = ["ListQuery", "ObjectList", "list_query"]

MOST_PAGES: Final = 50
"""Asked of the upstreams for one list. Everybody's objects stand in them: 5,000 are looked through."""

PAGE_BYTES: Final = 4_194_304

PAGE_ITEMS: Final = 100
LARGE_PAGE_ITEMS: Final = 20
_LARGE: Final = ("chat_completion",)

DEFAULT_ITEMS: Final = 20
FILES: Final = 10_000
"""OpenAI's own default and bound for files."""


@frozen
class ListQuery:
    """
    :param limit: how many the caller wants.
    :param after: the last of the page before.
    :param before: the first of the page behind.
    :param rest: the other parameters, as sent.
    """

    limit: int
    after: str
    before: str
    rest: bytes

    def page(self, items: int, after: str) -> bytes:
        """
        :param items: how many.
        :param after: behind which object.
        :return: the query for one of the upstream's pages.
        """
        parts = [self.rest] if self.rest else []
        parts.append(b"limit=%d" % items)
        if after:
            parts.append(b"after=" + quote(after, safe="").encode())
        if self.before:
            parts.append(b"before=" + quote(self.before, safe="").encode())
        return b"&".join(parts)


@define
class _Gathered:
    """What has been found for a caller's page."""

    items: list[object] = field(factory=list)
    more: bool = False
    pages: int = 0
    first: Mapping[str, object] | None = None


class ObjectList(PassedCall):
    """One such route."""

    _log = Logger()

    async def answer(self, exchange: Exchange) -> None:
        """
        Know the caller, ask for pages until theirs is full, give it.

        :param exchange: the call.
        """
        caller = await known_caller(self.authenticator, exchange)
        objects = self.guarded(caller)
        if objects is None:
            await self.pass_on(exchange, caller)
            return
        kind = self.operation.lists
        query = list_query(exchange.query, FILES if kind == "file" else DEFAULT_ITEMS)
        names = self.names_in_path(exchange) | ({query.after, query.before} - {""})
        keeper = await objects.keeper(caller, names)
        places = await objects.ownership.places(caller.owner, kind)
        targets = self._in_order(caller, places, keeper)
        gathered = _Gathered()
        for target in targets:
            after = query.after if target.upstream.name == keeper else ""
            wanted = places[target.upstream.name] if not after else FILES
            held = await self._gather(
                exchange, caller, objects, query, target, (after, wanted), gathered
            )
            if held is not None:
                await self.relay(exchange, held)
                return
            if gathered.more:
                break
        exchange.answer_json(_page(gathered))

    def _in_order(
        self, caller: Caller, places: Mapping[str, int], keeper: str | None
    ) -> Sequence[Target]:
        """:return: the upstreams that keep some, from the one on where the page before ended."""
        if not places:
            return ()
        targets = [each for each in self.targets(caller, "", None) if each.upstream.name in places]
        names = [each.upstream.name for each in targets]
        return targets[names.index(keeper) :] if keeper in names else targets

    async def _gather(
        self,
        exchange: Exchange,
        caller: Caller,
        objects: Objects,
        query: ListQuery,
        target: Target,
        begin: tuple[str, int],
        gathered: _Gathered,
    ) -> UpstreamAnswer | None:
        """
        Take one upstream's pages.

        :param begin: behind which object, and how many of the caller's there are at most.
        :return: an answer that is no page: it is relayed.
        """
        after, wanted = begin
        wanted += len(gathered.items)
        items = LARGE_PAGE_ITEMS if self.operation.lists in _LARGE else PAGE_ITEMS
        while True:
            if gathered.pages >= MOST_PAGES:
                gathered.more = bool(gathered.items)
                self._log.warn(
                    "{request_id}: {route}: {pages} pages of {upstream} do not hold all of the caller's",
                    request_id=exchange.request_id,
                    route=self.route,
                    pages=MOST_PAGES,
                    upstream=target.upstream.name,
                )
                return None
            gathered.pages += 1
            answer = await self.sender.send(
                Call(
                    self.raw_route(exchange),
                    None,
                    None,
                    None,
                    exchange.fields,
                    query.page(items, after),
                    method=b"GET",
                    affinity=target.upstream.name,
                    patience_seconds=patience_of(exchange.fields),
                    deployment=False,
                ),
                (target,),
                own_key=False,
                request_id=exchange.request_id,
            )
            if not isinstance(answer.answer, Response) or answer.answer.code != 200:
                return answer
            page = await _page_of(answer.answer)
            gathered.first = gathered.first or page
            data = page["data"]
            entries = data if isinstance(data, list) else []
            await self._take(entries, caller, objects, query, target, gathered)
            more = page.get("has_more") is True
            last = _id_of(entries[-1]) if entries else ""
            if query.before:
                gathered.more = gathered.more or more
                return None
            if gathered.more or not more or last in ("", after) or len(gathered.items) >= wanted:
                return None
            after = last

    async def _take(
        self,
        entries: Sequence[object],
        caller: Caller,
        objects: Objects,
        query: ListQuery,
        target: Target,
        gathered: _Gathered,
    ) -> None:
        found = await objects.ownership.find([_id_of(entry) for entry in entries])
        for entry in entries:
            row = found.get(_id_of(entry))
            if row is None or row.owner != caller.owner or row.upstream != target.upstream.name:
                continue
            if len(gathered.items) >= query.limit:
                gathered.more = True
                return
            claims = claims_of(entry, self.operation.claims)
            if claims:
                await objects.keep_claims(caller, target.upstream.name, claims)
            gathered.items.append(entry)


def list_query(query: bytes, default: int) -> ListQuery:
    """
    :param query: the caller's.
    :param default: how many items where it does not say.
    :return: what it says.
    :raise Refusal: 400, where its limit is no number.
    """
    known = {"limit": "", "after": "", "before": ""}
    rest: list[bytes] = []
    for part in query.split(b"&"):
        name, _, value = part.partition(b"=")
        plain = unquote_plus(name.decode("latin-1")).strip()
        if plain in known:
            known[plain] = unquote_plus(value.decode("latin-1"))
        elif part:
            rest.append(part)
    limit = known["limit"]
    if limit and not (limit.isascii() and limit.isdigit() and 0 < int(limit[:9]) <= FILES):
        raise Refusal(
            400,
            f"Invalid limit: send a number from 1 to {FILES}.",
            code="invalid_value",
            param="limit",
        )
    return ListQuery(int(limit or default), known["after"], known["before"], b"&".join(rest))


async def _page_of(response: Response) -> Mapping[str, object]:
    body = await head_of(response, PAGE_BYTES)
    response.abandon()
    content: object = None
    if response.end is not None and response.end.check(ResponseDone):
        try:
            content = orjson.loads(body)
        except orjson.JSONDecodeError:
            content = None
    if not isinstance(content, dict) or "data" not in content:
        raise Refusal(
            502,
            "The model's server answered with a list that cannot be read: try again later.",
            error_type="server_error",
            code="upstream_list_broken",
        )
    return content


def _page(gathered: _Gathered) -> dict[str, object]:
    """:return: the caller's page, with the members that the upstream's have."""
    page = dict(gathered.first or {"object": "list"})
    page["data"] = gathered.items
    page["has_more"] = gathered.more
    ends = gathered.items[:1] + gathered.items[-1:]
    for name, entry in zip(("first_id", "last_id"), ends or (None, None), strict=False):
        if gathered.first is None or name in gathered.first:
            page[name] = _id_of(entry) or None
    return page


def _id_of(entry: object) -> str:
    identity = entry.get("id") if isinstance(entry, dict) else None
    return identity if isinstance(identity, str) else ""
