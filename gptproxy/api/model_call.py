"""
The routes that name a model in a JSON body: chat, completions, embeddings and their like.

May import the access, upstream, HTTP and wire rooms, this room, and Twisted.
"""

from __future__ import annotations

from typing import Protocol

from twisted.internet.interfaces import IReactorTime

from gptproxy.access import Authenticator, Caller
from gptproxy.api.endpoint import Endpoint, known_caller
from gptproxy.api.exchange import Exchange
from gptproxy.api.json_call import JSONCall, read_json_call
from gptproxy.api.turns import Turns
from gptproxy.config import Settings
from gptproxy.http import whole_body
from gptproxy.upstream import Call, Sender, Target, own_upstream, targets_for
from gptproxy.wire import Refusal

__all__ = ["Augmenter", "ModelCall"]


class Augmenter(Protocol):
    """Puts the organisation's documents into a call."""

    async def augmented(self, call: JSONCall, exchange: Exchange, turns: Turns) -> JSONCall:
        """
        :param call: what the caller asks.
        :param exchange: learns what was added.
        :param turns: in which a large body is looked through.
        :return: the call as it goes up.
        """
        ...  # pragma: no cover - a protocol's method has no body to run


class ModelCall(Endpoint):
    """
    One such route.

    :param route: OpenAI's path.
    :param clock: for durations, and the turns in which large bodies are read.
    :param settings: upstreams and bounds.
    :param authenticator: judges the credential.
    :param sender: carries the call out.
    :param augmenter: where the route's calls may be about the organisation's documents.
    :param repeatable: see :class:`~gptproxy.upstream.Call`.
    """

    def __init__(
        self,
        route: str,
        clock: IReactorTime,
        settings: Settings,
        authenticator: Authenticator,
        sender: Sender,
        *,
        augmenter: Augmenter | None = None,
        repeatable: bool = True,
    ) -> None:
        super().__init__(route, clock)
        self._settings = settings
        self._authenticator = authenticator
        self._sender = sender
        self._augmenter = augmenter
        self._repeatable = repeatable
        self._turns = Turns(clock)

    async def answer(self, exchange: Exchange) -> None:
        """
        Know the caller, read the body, find the upstreams, send, relay.

        :param exchange: the call.
        """
        caller = await known_caller(self._authenticator, exchange)
        if any(name == b"content-encoding" and value for name, value in exchange.fields):
            raise Refusal(
                415, "Compressed request bodies are not accepted: send the JSON as it is."
            )
        body = await whole_body(exchange.request, self._settings.limits.body_bytes)
        call = await read_json_call(body, self._turns)
        exchange.model = _loggable(call.model)
        targets = self._targets(caller, call.model)
        if self._augmenter is not None and caller.azure_key is None:
            call = await self._augmenter.augmented(call, exchange, self._turns)
        answer = await self._sender.send(
            Call(
                self.route,
                call.model,
                call.body,
                call.model_span,
                exchange.fields,
                exchange.query,
                self._repeatable,
            ),
            targets,
            own_key=caller.azure_key is not None,
            request_id=exchange.request_id,
        )
        await exchange.relay(answer, self._settings.timeouts.stream_idle_seconds)

    def _targets(self, caller: Caller, model: str) -> tuple[Target, ...]:
        upstreams = self._settings.upstreams
        if caller.azure_key is not None:
            upstreams = (own_upstream(caller.azure_key),)
        return targets_for(upstreams, model, self._settings.unknown_model)


def _loggable(model: str) -> str:
    """:return: the name for the access line, whose fields are parted by spaces: nothing in it may look like another."""
    return model[:64] if model.isprintable() and " " not in model else "?"
