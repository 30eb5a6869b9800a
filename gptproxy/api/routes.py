"""
The route table's rows as endpoints, and all of them as one tree.

May import the access, config, upstream and HTTP rooms, this room, and Twisted.
"""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime
from twisted.web.resource import Resource

from gptproxy.access import Authenticator
from gptproxy.api.calls import Calls
from gptproxy.api.endpoint import Endpoint, RefusedRoute, UnknownRoute
from gptproxy.api.form_call import FormCall
from gptproxy.api.gate import Gate
from gptproxy.api.model_call import Augmenter, ModelCall
from gptproxy.api.models import ModelDeletion, Models
from gptproxy.api.object_list import ObjectList
from gptproxy.api.objects import Objects
from gptproxy.api.passed_call import PassedCall
from gptproxy.api.root import route_tree
from gptproxy.api.route_table import ROUTES, Body, ModelRule, Operation, Route
from gptproxy.config import Settings
from gptproxy.upstream import ModelList, Sender

__all__ = ["api_tree"]

AUGMENTED = ("/chat/completions", "/responses")
"""The routes whose calls may be about the organisation's documents."""

_OF_MODEL = (ModelRule.NEEDED, ModelRule.DEFAULTED)
_ADMINISTRATION = ("/organization/{rest}", "/projects/{rest}")
_DELETION = Route("/models/{model}", (Operation(b"DELETE", deletes=True),))


def api_tree(
    clock: IReactorTime,
    settings: Settings,
    authenticator: Authenticator,
    sender: Sender,
    model_list: ModelList,
    *,
    objects: Objects | None = None,
    augmenter: Augmenter | None = None,
    calls: Calls | None = None,
    gate: Gate | None = None,
) -> Resource:
    """
    :param clock: for durations, and the turns in which large bodies are read.
    :param settings: upstreams and bounds.
    :param authenticator: judges credentials.
    :param sender: carries calls out.
    :param model_list: what models there are.
    :param objects: knows whose stored objects are; None where nobody's are kept.
    :param augmenter: puts documents into chats.
    :param calls: told of every call; None: the access log is.
    :param gate: where calls come in; None: all may.
    :return: the root of all routes.
    """
    if objects is not None:
        objects = objects.with_prompts(settings.access.prompts)

    def endpoint(route: Route, operation: Operation, *, in_deployment: bool) -> Endpoint:
        if operation.refused:
            return RefusedRoute(
                route.path, clock, 400, operation.refused, "not_offered", (operation.method,)
            )
        given = (route, operation, clock, settings, authenticator, sender, objects)
        if operation.body is Body.FORM:
            return FormCall(*given, in_deployment=in_deployment)
        if operation.body is Body.JSON and operation.model in _OF_MODEL:
            call = ModelCall(*given, in_deployment=in_deployment)
            call.augmenter = augmenter if route.path in AUGMENTED else None
            return call
        return ObjectList(*given) if operation.lists else PassedCall(*given)

    def endpoints(*, in_deployment: bool) -> dict[str, dict[bytes, Endpoint]]:
        return {
            route.path: {
                operation.method: endpoint(route, operation, in_deployment=in_deployment)
                for operation in route.operations
                if operation.model in _OF_MODEL or not in_deployment
            }
            for route in ROUTES
            if route.deployment or not in_deployment
        }

    models = Models(clock, authenticator, model_list, objects)
    deletion = ModelDeletion(
        _DELETION, _DELETION.operations[0], clock, settings, authenticator, sender, objects
    )
    refused = {
        path: {
            method: RefusedRoute(
                path.removesuffix("/{rest}"),
                clock,
                403,
                "The organisation's administration is not offered through this gateway.",
                "access_denied",
            )
            for method in (b"GET", b"POST", b"DELETE", b"PUT", b"PATCH")
        }
        for path in _ADMINISTRATION
    }
    unknown = UnknownRoute(clock)
    unknown.calls, unknown.gate = calls, gate
    return route_tree(
        {
            **endpoints(in_deployment=False),
            **refused,
            "/models/{rest}": {b"GET": models, b"DELETE": deletion},
        },
        unknown,
        endpoints(in_deployment=True),
    )
