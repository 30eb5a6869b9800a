"""Which models the OpenAI stand-in has, and which deployments the Azure stand-ins have.

Pure: imports nothing of Twisted.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from attrs import frozen

__all__ = ["DEPLOYMENTS", "MODELS", "Model"]


@frozen
class Model:
    """One model.

    :param name: what callers name it.
    :param snapshot: what its answers name it.
    :param does: the operations that it can do: chat, respond, text, embed, image, speech, moderate.
    :param created: when it appeared, in seconds since 1970.
    :param dimensions: the length of its vectors; 0 for others.
    :param shortens: whether ``dimensions`` may be asked for.
    :param reasons: whether it refuses ``max_tokens`` in favour of ``max_completion_tokens``.
    """

    name: str
    snapshot: str
    does: frozenset[str]
    created: int
    dimensions: int = 0
    shortens: bool = False
    reasons: bool = False


_CHAT = frozenset({"chat", "respond"})
_CHAT_AND_TEXT = frozenset({"chat", "respond", "text"})
_EMBED = frozenset({"embed"})


def _by_name(*models: Model) -> Mapping[str, Model]:
    return MappingProxyType({model.name: model for model in models})


MODELS = _by_name(
    Model("gpt-4", "gpt-4-0613", _CHAT, 1687882411),
    Model("gpt-4o", "gpt-4o-2024-08-06", _CHAT, 1715367049),
    Model("gpt-4o-mini", "gpt-4o-mini-2024-07-18", _CHAT, 1721172741),
    Model("gpt-3.5-turbo", "gpt-3.5-turbo-0125", _CHAT_AND_TEXT, 1677610602),
    Model("o3-mini", "o3-mini-2025-01-31", _CHAT, 1737146383, reasons=True),
    Model("text-embedding-ada-002", "text-embedding-ada-002", _EMBED, 1671217299, 1536),
    Model("text-embedding-3-small", "text-embedding-3-small", _EMBED, 1705948997, 1536, True),
    Model("text-embedding-3-large", "text-embedding-3-large", _EMBED, 1705953180, 3072, True),
)

#: The models of operations that need no choice; real lists have them, ours keeps to the above.
_IMAGE_AND_SOUND = frozenset({"image", "speech", "moderate"})

DEPLOYMENTS = _by_name(
    Model("gpt-4", "gpt-4-0613", _CHAT | _IMAGE_AND_SOUND, 1687882411),
    Model("gpt-35-turbo", "gpt-35-turbo", _CHAT_AND_TEXT | _IMAGE_AND_SOUND, 1677610602),
    Model("gpt-4o", "gpt-4o-2024-11-20", _CHAT | _IMAGE_AND_SOUND, 1715367049),
    Model("text-embedding-ada-002", "text-embedding-ada-002", _EMBED, 1671217299, 1536),
)
