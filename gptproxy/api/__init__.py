"""
OpenAI's routes as a Resource tree, and errors in OpenAI's form.

A request comes in at :func:`api_tree`'s root when its headers are complete: :mod:`~gptproxy.api.route_table` says what
there is. Its :class:`Endpoint` learns the caller from the access room, reads the body, sees with :class:`Objects` whose
is what it names, and has the upstream room send it; an :class:`Exchange` writes the one answer and the access line.
:mod:`~gptproxy.api.chat_topics` puts documents into chats, where topics are configured.
"""

from gptproxy.api.calls import Calls
from gptproxy.api.endpoint import Endpoint, UnknownRoute
from gptproxy.api.exchange import Exchange
from gptproxy.api.gate import OVERLOADED, Gate, Streams, busy_answer
from gptproxy.api.json_call import JSONCall, read_json_call
from gptproxy.api.model_call import Augmenter, ModelCall
from gptproxy.api.models import Models
from gptproxy.api.objects import Objects
from gptproxy.api.request_id import refusal_page
from gptproxy.api.root import route_tree
from gptproxy.api.route_table import ROUTES, Operation, Route
from gptproxy.api.routes import api_tree
from gptproxy.api.turns import Turns

__all__ = [
    "OVERLOADED",
    "ROUTES",
    "Augmenter",
    "Calls",
    "Endpoint",
    "Exchange",
    "Gate",
    "JSONCall",
    "ModelCall",
    "Models",
    "Objects",
    "Operation",
    "Route",
    "Streams",
    "Turns",
    "UnknownRoute",
    "api_tree",
    "busy_answer",
    "read_json_call",
    "refusal_page",
    "route_tree",
]
