"""
``GET /models`` and ``GET /models/{id}``: what the caller may use.

May import the access, upstream, HTTP and wire rooms, this room, and Twisted.
"""

from __future__ import annotations

from urllib.parse import unquote

from twisted.internet.interfaces import IReactorTime

from gptproxy.access import Authenticator, Caller
from gptproxy.api.endpoint import Endpoint, known_caller, unknown_route
from gptproxy.api.exchange import Exchange
from gptproxy.api.objects import FINE_TUNED, Objects
from gptproxy.api.passed_call import PassedCall
from gptproxy.upstream import Model, ModelList, model_not_found
from gptproxy.wire import Refusal

__all__ = ["ModelDeletion", "Models"]


class Models(Endpoint):
    """
    :param clock: for durations.
    :param authenticator: judges the credential.
    :param model_list: what there is.
    :param objects: knows who made the fine-tuned ones; None where nobody's are kept.
    """

    methods = (b"GET", b"HEAD")
    takes_rest = True

    def __init__(
        self,
        clock: IReactorTime,
        authenticator: Authenticator,
        model_list: ModelList,
        objects: Objects | None = None,
    ) -> None:
        super().__init__("/models", clock)
        self._authenticator = authenticator
        self._model_list = model_list
        self._objects = objects

    async def answer(self, exchange: Exchange) -> None:
        """
        Give the list, or one of it.

        :param exchange: the call.
        """
        models = await self._models_for(await known_caller(self._authenticator, exchange))
        segments = [unquote(segment) for segment in exchange.raw_segments]
        # Names may have slashes, and not every client encodes them.
        segments = segments[segments.index("models") + 1 :]
        if not segments:
            exchange.answer_json({"object": "list", "data": [model.as_json() for model in models]})
            return
        name = "/".join(segments)
        for model in models:
            if model.name == name:
                exchange.answer_json(model.as_json())
                return
        raise model_not_found(name, [model.name for model in models])

    async def _models_for(self, caller: Caller) -> list[Model]:
        if caller.azure_key is not None:
            return [Model(name, 0, caller.name) for name in caller.azure_key.deployments]
        listed = await self._model_list.models()
        named = self._model_list.configured
        models = [
            model
            for model in listed
            if caller.may_use(model.name)
            and (model.name in named or not model.name.startswith(FINE_TUNED))
        ]
        if self._objects is not None:
            own = await self._objects.ownership.models(caller.owner)
            models += [
                Model(each.id, each.created, each.upstream)
                for each in own
                if caller.may_use(each.id)
            ]
        return models


class ModelDeletion(PassedCall):
    """``DELETE /models/{id}``: for whoever made it by fine-tuning."""

    async def answer(self, exchange: Exchange) -> None:
        """
        Pass it on, or refuse it.

        :param exchange: the call.
        """
        caller = await known_caller(self.authenticator, exchange)
        place, name = self.path_segments(exchange)[-2:]
        if place != "models":
            raise unknown_route()
        if caller.azure_key is None and not name.startswith(FINE_TUNED):
            raise Refusal(
                403,
                "Models are not deleted through this gateway, but for fine-tuned ones by who made them.",
                error_type="permission_error",
                code="access_denied",
            )
        await self.pass_on(exchange, caller)
