"""
Who may call: the settings of ``[gitlab]``, ``[[user_token]]`` and ``[access]``.

Pure: imports nothing of gptproxy but this room's own values, and nothing of Twisted.
"""

from __future__ import annotations

from attrs import frozen

from gptproxy.config.secret import Secret

__all__ = [
    "AccessSettings",
    "GitLabSettings",
    "UserTokenSettings",
]


@frozen
class AccessSettings:
    """
    ``[access]``: ways in besides GitLab and user tokens.

    :param pure_proxy: callers may bring ``RESOURCE:MODEL|DEPLOYMENT,...:KEY[:VERSION]`` as their bearer and reach Azure
        with their own key.
    """

    pure_proxy: bool = False


@frozen
class GitLabSettings:
    """
    ``[gitlab]``: the GitLab whose tokens are the callers' keys.

    :param url: base address without a trailing slash; https, or http on a loopback address.
    :param cache_size: verdicts kept at most.
    :param cache_seconds: how long a confirmed token is not asked about again: also how long a revoked one still works.
    :param refused_seconds: how long a refused token is refused without asking again.
    """

    url: str
    cache_size: int = 10_000
    cache_seconds: float = 60.0
    refused_seconds: float = 30.0


@frozen
class UserTokenSettings:
    """
    One ``[[user_token]]``: a key that the operator gives out, without GitLab.

    :param user_id: whom the log names.
    :param token: what the caller sends as the API key.
    """

    user_id: str
    token: Secret
