"""
Whose is what a call names, and whose becomes what it makes: the ownership room's answers as refusals and upstreams.

May import the access, ownership, upstream, HTTP and wire rooms, this room, and Twisted.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from fnmatch import fnmatchcase
from functools import partial
from typing import Final

from attrs import define, evolve, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger

from gptproxy.access import Caller
from gptproxy.api.creation import Found, claimed_in, first_event_of, head_of, made_in
from gptproxy.api.heard import heard
from gptproxy.api.json_call import SLICE_BYTES, WHOLE_BYTES, JSONCall
from gptproxy.api.route_table import ITEMS, Operation
from gptproxy.api.spoken import spoken
from gptproxy.api.turns import Turns
from gptproxy.http import Response, is_event_stream
from gptproxy.ownership import (
    FEW_NAMES,
    ITEM_MEMBERS,
    ItemScan,
    Ownership,
    ReferenceScan,
    TooManyReferences,
    not_found,
    query_references,
)
from gptproxy.upstream import UpstreamAnswer
from gptproxy.wire import BrokenJSON, Refusal

__all__ = ["Items", "Objects", "kept_apart", "named_in_query", "refused_reference"]

FINE_TUNED = "ft:"
"""What the names of models that callers made begin with."""


UNLIKE_ANY: Final = 16
"""Characters of an id from which on it is taken for nobody else's: the makers' have 30 and more."""


@define
class Items:
    """
    Earlier items in a call: see :class:`~gptproxy.ownership.ItemScan`.

    :ivar named: must be the caller's own.
    :ivar repeated: must not be somebody else's.
    :ivar sealed: those of them with encrypted content, in their order.
    """

    named: set[str] = field(factory=set)
    repeated: set[str] = field(factory=set)
    sealed: list[str] = field(factory=list)


class Objects:
    """
    :param ownership: knows whose objects are. A caller with a key of their own is asked nothing about theirs.
    :param turns: in which large bodies are looked through.
    :param prompts: patterns of saved prompts and workflows that are for all.
    """

    _log = Logger()

    def __init__(self, ownership: Ownership, turns: Turns, prompts: Sequence[str] = ()) -> None:
        self.ownership = ownership
        self._turns = turns
        self._prompts = tuple(prompts)

    def with_prompts(self, prompts: Sequence[str]) -> Objects:
        """
        :param prompts: patterns of saved prompts and workflows that are for all, as the configuration now says.
        :return: the same objects, with these.
        """
        return Objects(self.ownership, self._turns, prompts)

    async def named_in(self, body: bytes, *, few: bool, sound: bool | None = None) -> set[str]:
        """
        :param body: a JSON body that was read already.
        :param few: the route is one of those that know files, voices and spoken answers only.
        :param sound: for those, whether there is anything about sound in it; None: it is not known.
        :return: the ids it names.
        :raise Refusal: 400, where it cannot be told which; 403, where one is of a saved prompt that is not for all.
        """
        scan = ReferenceScan(body, FEW_NAMES if few else None, sound=sound)
        if not scan.needed:
            return scan.ids
        try:
            if len(body) <= WHOLE_BYTES:
                scan.step(WHOLE_BYTES)
            else:
                await self._turns.run(lambda: scan.step(SLICE_BYTES))
        except (BrokenJSON, TooManyReferences) as error:
            raise refused_reference(str(error)) from error
        for each in scan.saved:
            if not any(fnmatchcase(each, pattern) for pattern in self._prompts):
                raise _not_for_all()
        return scan.ids

    async def items_in(self, call: JSONCall) -> Items:
        """
        :param call: a response's, or a conversation's.
        :return: the items that it brings along.
        :raise Refusal: 400, where it cannot be told which.
        """
        items = Items()
        for name in ITEM_MEMBERS:
            array = call.spans.get(name)
            if array is None or not isinstance(call.content.get(name, []), list):
                continue
            scan = ItemScan(call.body, array)
            try:
                if call.whole:
                    while not scan.step(WHOLE_BYTES):
                        pass
                else:
                    await self._turns.run(partial(scan.step, SLICE_BYTES))
            except TooManyReferences as error:
                raise refused_reference(str(error)) from error
            items.named |= scan.named
            items.repeated |= scan.repeated
            items.sealed += scan.sealed
        return items

    async def sealed_by(self, caller: Caller, items: Items) -> str | None:
        """
        :param caller: who brings them along.
        :param items: those.
        :return: the name of the upstream that made the last of those with encrypted content; None where that is not
            known.
        :raise Refusal: 404, where one is somebody else's.
        """
        if not items.repeated:
            return None
        # What servers of one's own number from 0 is in many callers' hands; what is anybody's is not looked for.
        found = await self.ownership.find(
            [each for each in items.repeated if len(each) >= UNLIKE_ANY]
        )
        for row in found.values():
            if row.owner != caller.owner:
                raise not_found(row.id)
        made = [found[each].upstream for each in items.sealed if each in found]
        return made[-1] if made else None

    async def keeper(self, caller: Caller, ids: Collection[str]) -> str | None:
        """
        :param caller: who names them.
        :param ids: objects that the call names.
        :return: the name of the upstream that keeps them; None where none is named.
        :raise Refusal: 404 where one is not the caller's, as if there were none; 400 where they are kept in two places.
        """
        if not ids:
            return None
        found = await self.ownership.find(ids)
        keepers: set[str] = set()
        for each in ids:
            row = found.get(each)
            if row is None or row.owner != caller.owner:
                raise not_found(each)
            keepers.add(row.upstream)
        if len(keepers) > 1:
            raise kept_apart()
        return keepers.pop()

    async def keep(
        self, caller: Caller, operation: Operation, answer: UpstreamAnswer, *, made: bool
    ) -> UpstreamAnswer:
        """
        Record what the call made, before the caller sees any of the answer.

        :param caller: who made it.
        :param operation: says where ids stand.
        :param answer: what came. It is dropped when this fails.
        :param made: ``operation.creates`` holds for this call.
        :return: the answer, to be given to the caller.
        :raise Refusal: 503, when it cannot be recorded.
        """
        response = answer.answer
        if not isinstance(response, Response) or not (made or operation.claims):
            return answer
        try:
            await self._keep(caller, operation, answer, response, made=made)
        except CancelledError:
            response.abandon()
            raise
        except Refusal as refusal:
            response.abandon()
            # It was made, and paid for: asked again by itself the client would have it made twice.
            refusal.headers = (*refusal.headers, (b"x-should-retry", b"false"))
            raise
        if not is_event_stream(answer.fields) or ITEMS not in operation.claims:
            return answer
        upstream = answer.upstream
        return evolve(
            answer, answer=heard(response, lambda found: self._note(caller, upstream, found))
        )

    def hear_speech(self, caller: Caller, answer: UpstreamAnswer) -> UpstreamAnswer:
        """
        Record the ids of what is spoken, as they pass: it becomes the caller's.

        :param caller: who asked for it.
        :param answer: to a chat that asks for sound; the caller has seen nothing of it yet.
        :return: the answer, to be given to the caller.
        """
        response, upstream = answer.answer, answer.upstream
        if not isinstance(response, Response):
            return answer
        return evolve(
            answer, answer=spoken(response, lambda found: self._note(caller, upstream, found))
        )

    def _note(self, caller: Caller, upstream: str, found: Found) -> None:
        noting = Deferred.fromCoroutine(self.ownership.record(caller.owner, upstream, found))
        noting.addErrback(
            lambda failure: self._log.warn(
                "what an answer tells as it passes is not recorded: {trouble}",
                trouble=failure.getErrorMessage(),
            )
        )

    async def _keep(
        self,
        caller: Caller,
        operation: Operation,
        answer: UpstreamAnswer,
        response: Response,
        *,
        made: bool,
    ) -> None:
        creates = operation.creates if made else ""
        if is_event_stream(answer.fields):
            found = await first_event_of(response, creates)
        else:
            body = await head_of(response)
            found = await made_in(body, creates, self._turns)
            found += claimed_in(body, operation.claims)
        if creates and not any(kind == creates for _, kind in found):
            self._log.warn(
                "upstream {upstream} does not tell the id of a new {kind}: its caller will not be able to ask for it",
                upstream=answer.upstream,
                kind=creates,
            )
        await self.ownership.record(caller.owner, answer.upstream, found)

    async def keep_claims(
        self, caller: Caller, upstream: str, claims: Iterable[tuple[str, str]]
    ) -> None:
        """
        :param caller: whose the objects become.
        :param upstream: the name of the one that keeps them.
        :param claims: ids and kinds.
        """
        await self.ownership.record(caller.owner, upstream, list(claims))


def named_in_query(query: bytes) -> list[str]:
    """
    :param query: a target's.
    :return: the ids that it names.
    :raise Refusal: 400, where it cannot be told which.
    """
    try:
        return query_references(query)
    except TooManyReferences as error:
        raise refused_reference(str(error)) from error


def kept_apart() -> Refusal:
    """:return: a 400 for objects that no one upstream has."""
    return Refusal(
        400,
        "The objects that this request names are kept by different servers: "
        "make them again, so that one server keeps all.",
        code="objects_apart",
    )


def _not_for_all() -> Refusal:
    # The same for those that there are and those that there are not.
    return Refusal(
        403,
        "Saved prompts and workflows are not the caller's own, and this one is not among those that the gateway's "
        "operator allows: send the prompt's text, or ask for it to be put into [access] prompts.",
        error_type="permission_error",
        code="access_denied",
    )


def refused_reference(member: str) -> Refusal:
    """
    :param member: which names objects in a form that cannot be told.
    :return: a 400.
    """
    return Refusal(
        400,
        "This member names objects in a form that the gateway cannot check: name fewer, in fewer words.",
        code="invalid_reference",
        param=member[:64],
    )
