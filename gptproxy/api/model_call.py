"""
The routes that name a model in a JSON body: chat, completions, responses, embeddings and their like.

May import the access, upstream, HTTP and wire rooms, this room, and Twisted.
"""

from __future__ import annotations

from typing import Protocol

from gptproxy.access import Caller
from gptproxy.api.endpoint import known_caller
from gptproxy.api.exchange import Exchange
from gptproxy.api.json_call import JSONCall, read_json_call
from gptproxy.api.route_table import ModelRule
from gptproxy.api.spoken import has_sound
from gptproxy.api.tool_models import check_tools
from gptproxy.api.turns import Turns
from gptproxy.api.upstream_route import UpstreamRoute, loggable, patience_of, refuse_compressed
from gptproxy.http import whole_body
from gptproxy.upstream import Call

__all__ = ["Augmenter", "ModelCall"]


class Augmenter(Protocol):
    """Puts the organisation's documents into a call."""

    async def augmented(
        self, call: JSONCall, exchange: Exchange, turns: Turns, caller: Caller
    ) -> JSONCall:
        """
        :param call: what the caller asks.
        :param exchange: learns what was added.
        :param turns: in which a large body is looked through.
        :param caller: who asks; not all may read everything.
        :return: the call as it goes up.
        :raise Refusal: 404: the caller names a topic that there is not.
        """
        ...  # pragma: no cover - a protocol's method has no body to run


class ModelCall(UpstreamRoute):
    """One such route."""

    augmenter: Augmenter | None = None
    """Where the route's calls may be about the organisation's documents."""

    async def answer(self, exchange: Exchange) -> None:
        """
        Know the caller, read the body, find the upstreams, send, relay.

        :param exchange: the call.
        """
        caller = await known_caller(self.authenticator, exchange)
        refuse_compressed(exchange.fields)
        body = await whole_body(exchange.request, self.settings.limits.body_bytes)
        needs_model = self.needs_model(caller)
        call = await read_json_call(
            body, self.turns, needs_model=needs_model, model=self.path_model(exchange)
        )
        names: set[str] = self.names_in_path(exchange) if exchange.query else set()
        if call.model:
            exchange.model = loggable(call.model)
            self.may_use(caller, call.model, names)
        if caller.models is not None:
            check_tools(caller, call)
        objects = self.guarded(caller)
        keeper = sealed = None
        sound = objects is not None and has_sound(call)
        if objects is not None:
            named = await objects.named_in(call.body, few=self.table_route.deployment, sound=sound)
            if named:
                names |= self.private(named)
            sealed = await self.items(objects, caller, call, names)
            if names:
                keeper = await objects.keeper(caller, names)
        targets = self.targets(caller, call.model, keeper)
        if sealed is not None and any(each.upstream.name == sealed for each in targets):
            # Encrypted reasoning can be read by the upstream alone that wrote it.
            keeper, targets = sealed, self.targets(caller, call.model, sealed)
        if self.augmenter is not None and caller.azure_key is None:
            call = await self.augmenter.augmented(call, exchange, self.turns, caller)
        made = self._is_stored(call)
        answer = await self.send(
            exchange,
            caller,
            Call(
                self.route,
                call.model,
                call.body,
                call.model_span,
                exchange.fields,
                exchange.query,
                self.operation.repeatable and not made,
                affinity=keeper,
                stream=call.content.get("stream") is True,
                patience_seconds=patience_of(exchange.fields),
                deployment=self.table_route.deployment,
            ),
            targets,
            made=made,
        )
        if objects is not None and sound and self.route == "/chat/completions":
            # A later call may name what is spoken by its id, which must be this caller's.
            answer = objects.hear_speech(caller, answer)
        if call.answered is not None:
            answer = call.answered(answer)
        await self.relay(exchange, answer)

    def needs_model(self, caller: Caller) -> bool:
        """
        :param caller: who is calling.
        :return: they must name the model: the upstream has none by default, or not all are for them.
        """
        return self.operation.model is not ModelRule.DEFAULTED or caller.models is not None

    def _is_stored(self, call: JSONCall) -> bool:
        """:return: the upstream keeps something of the call, or works on behind it."""
        operation = self.operation
        if operation.stores is None:
            return bool(operation.creates)
        said = call.content.get("store")
        if call.content.get("background") is True:
            return True
        return operation.stores if said is None else bool(said)
