"""
What the routes that end at an upstream have in common: who may, where it goes, what is recorded of the answer.

May import the access, config, upstream, HTTP and wire rooms, this room, and Twisted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from urllib.parse import unquote

from twisted.internet.interfaces import IReactorTime

from gptproxy.access import Authenticator, Caller, model_not_allowed
from gptproxy.api.endpoint import Endpoint
from gptproxy.api.exchange import Exchange
from gptproxy.api.json_call import JSONCall, missing_model
from gptproxy.api.objects import FINE_TUNED, Objects, named_in_query
from gptproxy.api.route_table import ModelRule, Operation, Route
from gptproxy.api.turns import Turns
from gptproxy.config import Settings, UpstreamSettings
from gptproxy.http import Fields
from gptproxy.upstream import (
    Call,
    Sender,
    Target,
    UpstreamAnswer,
    has_every_model,
    offers,
    own_name,
    own_upstream,
    targets_for,
)
from gptproxy.wire import Refusal

__all__ = ["UpstreamRoute", "is_json", "loggable", "patience_of", "refuse_compressed"]


KNOWN_MODELS = 256
"""Names whose upstreams are remembered; with a pattern or an open upstream callers may make names up."""


class UpstreamRoute(Endpoint):
    """
    One method of one route.

    :param route: which.
    :param operation: its method.
    :param clock: for durations, and the turns in which large bodies are read.
    :param settings: upstreams and bounds.
    :param authenticator: judges the credential.
    :param sender: carries the call out.
    :param objects: knows whose stored objects are; None where nobody's are kept.
    :param in_deployment: the path names the model before the route.
    """

    def __init__(
        self,
        route: Route,
        operation: Operation,
        clock: IReactorTime,
        settings: Settings,
        authenticator: Authenticator,
        sender: Sender,
        objects: Objects | None = None,
        *,
        in_deployment: bool = False,
    ) -> None:
        super().__init__(route.path, clock)
        self.methods = (operation.method,) if operation.method != b"GET" else (b"GET", b"HEAD")
        self.table_route = route
        self.operation = operation
        self.settings = settings
        self.authenticator = authenticator
        self.sender = sender
        self.objects = objects
        self.in_deployment = in_deployment
        self.turns = Turns(clock)
        self._names = route.names
        self._known_targets: dict[str, tuple[Target, ...]] = {}
        self._is_plain = not any(segment.startswith("{") for segment in route.segments)

    def guarded(self, caller: Caller) -> Objects | None:
        """
        :param caller: who is calling.
        :return: what knows about stored objects, where it matters to them: with a key of their own all are theirs.
        """
        return self.objects if caller.azure_key is None else None

    def path_segments(self, exchange: Exchange) -> Sequence[str]:
        """
        :param exchange: the call.
        :return: the route's own segments as the path has them, decoded once.
        """
        return [unquote(segment) for segment in self._last(exchange)]

    def raw_route(self, exchange: Exchange) -> str:
        """
        :param exchange: the call.
        :return: the route's own part of the path, as the caller wrote it.
        """
        if self._is_plain:
            return self.route
        return "/" + "/".join(self._last(exchange))

    def path_model(self, exchange: Exchange) -> str:
        """
        :param exchange: the call.
        :return: the model that Azure's classic path names; empty where it names none.
        """
        if not self.in_deployment:
            return ""
        segments = exchange.raw_segments
        return unquote(segments[-1 - len(self.table_route.segments)])

    def names_in_path(self, exchange: Exchange) -> set[str]:
        """
        :param exchange: the call.
        :return: ids of objects that the path and the query name.
        :raise Refusal: 400, where it cannot be told which.
        """
        names: set[str] = set()
        if self._names:
            segments = self.path_segments(exchange)
            names.update(segments[place] for place in self._names)
        if exchange.query:
            names.update(self.private(named_in_query(exchange.query)))
        return names

    async def items(
        self, objects: Objects, caller: Caller, call: JSONCall, names: set[str]
    ) -> str | None:
        """
        :param objects: knows whose items are.
        :param caller: who is calling.
        :param call: what they send.
        :param names: gets the items that the call names.
        :return: the name of the upstream that alone can read what is encrypted in it; None where nothing is, or it is
            not known.
        :raise Refusal: 404, where an item is somebody else's.
        """
        if self.table_route.deployment:
            return None
        items = await objects.items_in(call)
        names |= items.named
        return await objects.sealed_by(caller, items)

    def private(self, names: Iterable[str]) -> set[str]:
        """
        :param names: ids, and names of models that were made.
        :return: those that are somebody's own: what the configuration names is for all.
        """
        return {each for each in names if not (each.startswith(FINE_TUNED) and self._offered(each))}

    def _offered(self, model: str) -> bool:
        return any(
            model in upstream.deployments or model in upstream.aliases
            for upstream in self.settings.upstreams
        )

    def may_use(self, caller: Caller, model: str, names: set[str]) -> None:
        """
        :param caller: who is calling.
        :param model: what they name.
        :param names: gets the model, if it is one that somebody made.
        :raise Refusal: 403.
        """
        if not caller.may_use(model):
            raise model_not_allowed(model)
        if model.startswith(FINE_TUNED) and not self._offered(model):
            names.add(model)

    def may_use_unseen(self, caller: Caller) -> None:
        """
        :param caller: who is calling.
        :raise Refusal: 403, where the models that the call uses cannot be told and theirs are listed.
        """
        if self.operation.model is ModelRule.UNSEEN and caller.models is not None:
            raise Refusal(
                403,
                "You may use some models only, and which ones this request uses cannot be told beforehand: "
                "ask for the models one by one.",
                error_type="permission_error",
                code="model_not_allowed",
            )

    def targets(self, caller: Caller, model: str, keeper: str | None) -> tuple[Target, ...]:
        """
        :param caller: who is calling.
        :param model: what they name; empty: none.
        :param keeper: the name of the upstream that keeps what the call names.
        :return: who may be asked, in order.
        :raise Refusal: 404.
        """
        # What a caller's own key or list of models makes of a name is theirs alone.
        common = caller.azure_key is None and caller.models is None and keeper is None
        if common and model in self._known_targets:
            return self._known_targets[model]
        upstreams: tuple[UpstreamSettings, ...] = self.settings.upstreams
        if caller.azure_key is not None:
            upstreams = (own_upstream(caller.azure_key),)
        rule = self.operation.model
        if rule is ModelRule.DEFAULTED and not model:
            # Nobody else has a model that the caller does not name.
            upstreams = tuple(upstream for upstream in upstreams if has_every_model(upstream))
            if not upstreams:
                raise missing_model()
        if rule is ModelRule.NEEDED or (
            model and rule in (ModelRule.OPTIONAL, ModelRule.DEFAULTED)
        ):
            # Whose models are listed gets none in the place of another.
            unknown = self.settings.unknown_model if caller.models is None else "refuse"
            targets = targets_for(upstreams, model, unknown, may_be_told=caller.may_use)
        else:
            targets = tuple(
                # A pattern among the aliases would rename the empty name too.
                Target(upstream, (own_name(upstream, model) or model) if model else "")
                for upstream in upstreams
            )
        if not self.table_route.deployment:
            targets = tuple(each for each in targets if offers(each.upstream, self.route))
        if keeper is not None:
            targets = tuple(each for each in targets if each.upstream.name == keeper)
        if not targets:
            raise Refusal(
                404,
                "The server that keeps what this request names does not do this with it: use another model, or route."
                if keeper is not None
                else "None of the gateway's upstreams offers this route.",
                code="not_offered",
            )
        if common and len(self._known_targets) < KNOWN_MODELS:
            # Of the configuration alone: it does not change while the process runs.
            self._known_targets[model] = targets
        return targets

    async def send(
        self,
        exchange: Exchange,
        caller: Caller,
        call: Call,
        targets: tuple[Target, ...],
        *,
        made: bool,
    ) -> UpstreamAnswer:
        """
        Have it answered, and record what was made.

        :param exchange: the call.
        :param caller: who is calling.
        :param call: what is asked.
        :param targets: of whom.
        :param made: ``operation.creates`` holds for this call.
        :return: the answer, of which the caller has seen nothing yet.
        """
        if call.stream and exchange.gate is not None:
            exchange.gate.begin_stream(exchange)
        answer = await self.sender.send(
            call,
            targets,
            own_key=caller.azure_key is not None,
            request_id=exchange.request_id,
        )
        objects = self.guarded(caller)
        if objects is not None and (made or self.operation.claims):
            return await objects.keep(caller, self.operation, answer, made=made)
        return answer

    async def relay(self, exchange: Exchange, answer: UpstreamAnswer) -> None:
        """
        :param exchange: the call.
        :param answer: goes to the caller.
        """
        await exchange.relay(
            answer,
            self.settings.timeouts.stream_idle_seconds,
            self.settings.stream.heartbeat_seconds,
        )

    def _last(self, exchange: Exchange) -> list[str]:
        return exchange.raw_segments[-len(self.table_route.segments) :]


def is_json(fields: Fields) -> bool:
    """
    :param fields: a request's field lines.
    :return: it says that its body is JSON.
    """
    return any(
        name == b"content-type" and value[:16].lower() == b"application/json"
        for name, value in fields
    )


def patience_of(fields: Fields) -> float | None:
    """
    :param fields: a request's field lines.
    :return: how many seconds the caller's client waits, as the official ones say.
    """
    for name, value in fields:
        if (
            name in (b"x-stainless-timeout", b"x-stainless-read-timeout")
            and len(value) <= 12
            and value.replace(b".", b"", 1).isdigit()
            and float(value) > 0
        ):
            return float(value)
    return None


def loggable(model: str) -> str:
    """
    :param model: as the caller named it.
    :return: the name for the access line, whose fields are parted by spaces: nothing in it may look like another.
    """
    return model[:64] if model.isprintable() and " " not in model else "?"


def refuse_compressed(fields: Fields) -> None:
    """
    :param fields: a request's field lines.
    :raise Refusal: 415, where its body is compressed.
    """
    for name, value in fields:
        if name == b"content-encoding" and value:
            raise Refusal(
                415, "Compressed request bodies are not accepted: send the body as it is."
            )
