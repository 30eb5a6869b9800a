"""
Where does a call go, and what if it fails?

Decisions are pure and stand apart from sending. :mod:`~gptproxy.upstream.models` finds the upstreams that have the
model, :mod:`~gptproxy.upstream.addressing` writes the request for each, :mod:`~gptproxy.upstream.judgement` reads what
came of it, :mod:`~gptproxy.upstream.decision` says what is next; :class:`Sender` does it. :class:`Embedder` and
:class:`ModelList` ask on gptproxy's own behalf.
"""

from gptproxy.upstream.call import Call, HeldAnswer, NoUpstreamAnswer, Target, UpstreamAnswer
from gptproxy.upstream.circuit import UpstreamState
from gptproxy.upstream.embedding import Embedder, NoEmbeddings
from gptproxy.upstream.entra import EntraTokens, read_assertion
from gptproxy.upstream.model_list import Model, ModelList
from gptproxy.upstream.models import (
    has_every_model,
    known_models,
    model_not_found,
    offers,
    own_name,
    own_upstream,
    targets_for,
)
from gptproxy.upstream.sending import Sender
from gptproxy.upstream.usage import Usage, usage_of

__all__ = [
    "Call",
    "Embedder",
    "EntraTokens",
    "HeldAnswer",
    "Model",
    "ModelList",
    "NoEmbeddings",
    "NoUpstreamAnswer",
    "Sender",
    "Target",
    "UpstreamAnswer",
    "UpstreamState",
    "Usage",
    "has_every_model",
    "known_models",
    "model_not_found",
    "offers",
    "own_name",
    "own_upstream",
    "read_assertion",
    "targets_for",
    "usage_of",
]
