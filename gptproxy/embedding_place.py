"""
Who is asked for embeddings: the upstreams, one of them, or a server of their own.

May import the config room.
"""

from __future__ import annotations

from gptproxy.config import KnowledgeSettings, Settings, UpstreamSettings

__all__ = ["embedding_upstreams"]

OWN_SERVER = "embeddings"
"""What logs call the server of ``embedding_url``."""


def embedding_upstreams(
    settings: Settings, knowledge: KnowledgeSettings
) -> tuple[UpstreamSettings, ...]:
    """
    :param settings: the upstreams.
    :param knowledge: what the operator says of embeddings.
    :return: whom to ask, in order.
    """
    if knowledge.embedding_url is not None:
        url, key = knowledge.embedding_url, knowledge.embedding_key
        return (UpstreamSettings(name=OWN_SERVER, kind="openai", url=url, api_key=key, tier=1),)
    named = knowledge.embedding_upstream
    return tuple(one for one in settings.upstreams if named is None or one.name == named)
