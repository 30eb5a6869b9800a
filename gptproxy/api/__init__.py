"""
OpenAI's routes as a Resource tree, and errors in OpenAI's form.

A request comes in at :func:`route_tree`'s root when its headers are complete. Its :class:`Endpoint` learns the caller
from the access room, reads the body, and has the upstream room send it; an :class:`Exchange` writes the one answer and
the access line. :mod:`~gptproxy.api.chat_topics` puts documents into chats, where topics are configured.
"""

from gptproxy.api.endpoint import Endpoint, UnknownRoute
from gptproxy.api.exchange import Exchange, refusal_page
from gptproxy.api.json_call import JSONCall, read_json_call
from gptproxy.api.model_call import Augmenter, ModelCall
from gptproxy.api.models import Models
from gptproxy.api.root import route_tree
from gptproxy.api.turns import Turns

__all__ = [
    "Augmenter",
    "Endpoint",
    "Exchange",
    "JSONCall",
    "ModelCall",
    "Models",
    "Turns",
    "UnknownRoute",
    "read_json_call",
    "refusal_page",
    "route_tree",
]
