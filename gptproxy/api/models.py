"""
``GET /models`` and ``GET /models/{id}``.

May import the access, upstream, HTTP and wire rooms, this room, and Twisted.
"""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime

from gptproxy.access import Authenticator, Caller
from gptproxy.api.endpoint import Endpoint, known_caller
from gptproxy.api.exchange import Exchange
from gptproxy.upstream import Model, ModelList, model_not_found

__all__ = ["Models"]


class Models(Endpoint):
    """
    :param clock: for durations.
    :param authenticator: judges the credential.
    :param model_list: what there is.
    """

    methods = (b"GET", b"HEAD")
    takes_rest = True

    def __init__(
        self, clock: IReactorTime, authenticator: Authenticator, model_list: ModelList
    ) -> None:
        super().__init__("/models", clock)
        self._authenticator = authenticator
        self._model_list = model_list

    async def answer(self, exchange: Exchange) -> None:
        """
        Give the list, or one of it.

        :param exchange: the call.
        """
        models = await self._models_for(await known_caller(self._authenticator, exchange))
        segments = [segment for segment in exchange.request.postpath or [] if segment]
        if not segments:
            exchange.answer_json({"object": "list", "data": [model.as_json() for model in models]})
            return
        # Names may have slashes, and not every client encodes them.
        name = b"/".join(segments).decode("utf-8", "replace")
        for model in models:
            if model.name == name:
                exchange.answer_json(model.as_json())
                return
        raise model_not_found(name, [model.name for model in models])

    async def _models_for(self, caller: Caller) -> list[Model]:
        if caller.azure_key is not None:
            return [Model(name, 0, caller.name) for name in caller.azure_key.deployments]
        return await self._model_list.models()
