"""
The list of models that callers may name: what the configuration maps, and what upstreams without a map say they have.

May import the upstream, HTTP and config rooms and Twisted.
"""

from __future__ import annotations

from collections.abc import Sequence

import orjson
from attrs import frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from gptproxy.config import UpstreamSettings
from gptproxy.figures import NOBODY, Figures
from gptproxy.http import NoAnswer, OwnCalls
from gptproxy.upstream.addressing import credential_field
from gptproxy.upstream.models import is_pattern, known_models, own_name

__all__ = ["Model", "ModelList", "models_in"]

ANSWER_LIMIT_BYTES = 1_048_576
"""Bound on a list; OpenAI's has about a hundred entries, 150 bytes each."""

TOTAL_SECONDS = 10.0
"""How long an upstream has to give its list, retries included."""

KEEP_SECONDS = 300.0
"""How long a list is good."""

TROUBLE_SECONDS = 15.0
"""How long an upstream that gave none is not asked again: callers ask for lists at their programs' every start."""


@frozen
class Model:
    """
    One model in OpenAI's form.

    :param name: its id.
    :param created: Unix time; 0 where it is not known.
    :param owned_by: whose it is.
    """

    name: str
    created: int
    owned_by: str

    def as_json(self) -> dict[str, object]:
        """:return: OpenAI's model object."""
        return {
            "id": self.name,
            "object": "model",
            "created": self.created,
            "owned_by": self.owned_by,
        }


class ModelList:
    """
    :param upstreams: in order of preference.
    :param calls: asks those without a map.
    :param clock: for the lists' age.
    :param figures: told whether a list was at hand.
    """

    _log = Logger()

    def __init__(
        self,
        upstreams: Sequence[UpstreamSettings],
        calls: OwnCalls,
        clock: IReactorTime,
        figures: Figures = NOBODY,
    ) -> None:
        self._figures = figures
        self._upstreams = upstreams
        self._calls = calls
        self._clock = clock
        # Until when it is good, and the list.
        self._lists: dict[str, tuple[float, list[Model]]] = {}
        # Who waits for an upstream's answer: programs that start together ask together.
        self._waiting: dict[str, list[Deferred[None]]] = {}
        self._asking: dict[str, Deferred[None]] = {}

    @property
    def configured(self) -> frozenset[str]:
        """The names that the configuration maps."""
        return frozenset(known_models(self._upstreams))

    async def models(self) -> list[Model]:
        """
        :return: the models, each once, in order of preference. An upstream that does not answer adds those that it had
            last, if any.
        """
        found: dict[str, Model] = {}
        for upstream in self._upstreams:
            for model in await self._models_of(upstream):
                found.setdefault(model.name, model)
        return list(found.values())

    async def _models_of(self, upstream: UpstreamSettings) -> list[Model]:
        named = [
            Model(name, 0, upstream.name)
            for name in known_models((upstream,))
            if upstream.kind == "azure" or upstream.deployments or name in upstream.aliases
        ]
        patterns = any(is_pattern(name) for name in upstream.deployments)
        if upstream.kind == "azure" or (upstream.deployments and not patterns):
            return named
        good_until, kept = self._lists.get(upstream.name, (0.0, []))
        is_good = self._clock.seconds() < good_until
        self._figures.count("cache_lookups", "model_lists", "hit" if is_good else "miss")
        if not is_good:
            await self._asked_once(upstream)
            _, kept = self._lists.get(upstream.name, (0.0, []))
        return named + [model for model in kept if own_name(upstream, model.name) is not None]

    async def _asked_once(self, upstream: UpstreamSettings) -> None:
        name = upstream.name
        waiter: Deferred[None] = Deferred(lambda left: self._leave(name, left))
        waiting = self._waiting.setdefault(name, [])
        waiting.append(waiter)
        if len(waiting) == 1:
            asking = self._asking[name] = Deferred.fromCoroutine(self._ask(upstream))
            asking.addBoth(lambda result: self._tell(name, result))
        await waiter

    def _leave(self, name: str, waiter: Deferred[None]) -> None:
        """One who leaves takes nothing from the others; the last one takes the call along."""
        waiting = self._waiting.get(name, [])
        if waiter in waiting:
            waiting.remove(waiter)
            if not waiting:
                self._asking[name].cancel()

    def _tell(self, name: str, result: object) -> None:
        self._asking.pop(name, None)
        if isinstance(result, Failure) and not result.check(CancelledError):
            self._log.failure("asking {upstream} for its models", result, upstream=name)
        for waiter in self._waiting.pop(name, []):
            if not waiter.called:
                waiter.callback(None)

    async def _ask(self, upstream: UpstreamSettings) -> None:
        _, kept = self._lists.get(upstream.name, (0.0, []))
        try:
            answer = await self._calls.ask(
                "GET",
                f"{upstream.url}/models",
                {name.decode(): value.decode() for name, value in credential_field(upstream)},
                limit_bytes=ANSWER_LIMIT_BYTES,
                total_seconds=TOTAL_SECONDS,
            )
        except NoAnswer as no_answer:
            trouble = no_answer.cause
        else:
            models = models_in(answer.body) if answer.status == 200 else None
            if models is not None:
                self._lists[upstream.name] = (self._clock.seconds() + KEEP_SECONDS, models)
                return
            trouble = f"status {answer.status}"
        self._log.warn(
            "upstream {upstream} does not list its models: {trouble}",
            upstream=upstream.name,
            trouble=trouble,
        )
        self._lists[upstream.name] = (self._clock.seconds() + TROUBLE_SECONDS, kept)


def models_in(body: bytes) -> list[Model] | None:
    """
    :param body: an answer to ``GET /models``.
    :return: the models it names; what is not one is passed over. None where it is no list, such as a login page.
    """
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(content, dict) or "data" not in content:
        return None
    entries = content["data"]
    models = []
    # Ollama says null where it has none.
    for entry in entries if isinstance(entries, list) else []:
        name = entry.get("id") if isinstance(entry, dict) else None
        if isinstance(name, str):
            created, owned_by = entry.get("created"), entry.get("owned_by")
            models.append(
                Model(
                    name,
                    created if isinstance(created, int) else 0,
                    owned_by if isinstance(owned_by, str) else "",
                )
            )
    return models
