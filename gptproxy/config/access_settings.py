"""
Who may call: the settings of ``[gitlab]``, ``[[user_token]]`` and ``[access]``.

Pure: imports nothing of gptproxy but this room's own values, and nothing of Twisted.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from attrs import frozen

from gptproxy.config.secret import Secret

__all__ = [
    "ACCESS_LEVELS",
    "AccessSettings",
    "AllowSettings",
    "GitLabSettings",
    "UserTokenSettings",
]

#: GitLab's access levels by name ("Members of a group or project API", "Roles"). "admin" is none of a membership.
ACCESS_LEVELS: Mapping[str, int] = MappingProxyType(
    {
        "guest": 10,
        "planner": 15,
        "reporter": 20,
        "developer": 30,
        "maintainer": 40,
        "owner": 50,
    }
)


@frozen
class AllowSettings:
    """
    One ``[[gitlab.allow]]``: some of the people and pipelines of a GitLab. One of group, project and user is not empty.

    :param group: its id, or its full path.
    :param project: its id, or its path with namespace.
    :param user: their id, or user name.
    :param min_access_level: GitLab's number of the least role in the group or project that will do.
    :param models: patterns (``fnmatch``) of the models they may use; None: all.
    :param protected_refs_only: a CI credential counts only if its job runs for a protected branch or tag.
    """

    group: str = ""
    project: str = ""
    user: str = ""
    min_access_level: int = ACCESS_LEVELS["guest"]
    models: tuple[str, ...] | None = None
    protected_refs_only: bool = False


@frozen
class AccessSettings:
    """
    ``[access]``: ways in besides GitLab and user tokens.

    :param pure_proxy: callers may bring ``RESOURCE:MODEL|DEPLOYMENT,...:KEY[:VERSION]`` as their bearer and reach Azure
        with their own key.
    :param objects: SQLite file with who made which stored object; None: they are remembered while the process runs.
    :param prompts: patterns (``fnmatch``) of the saved prompts and ChatKit workflows that everybody may name; nobody
        makes them through gptproxy, so that they are no caller's own.
    """

    pure_proxy: bool = False
    objects: Path | None = None
    prompts: tuple[str, ...] = ()


@frozen
class GitLabSettings:
    """
    ``[gitlab]``: the GitLab whose tokens are the callers' keys.

    :param url: base address without a trailing slash; https, or http on a loopback address.
    :param cache_size: verdicts kept at most.
    :param cache_seconds: how long a confirmed token is not asked about again: also how long a revoked one still works.
    :param refused_seconds: how long a refused token is refused without asking again.
    :param grace_seconds: how long after its last confirmation a known token is good while GitLab does not answer.
    :param audience: the ``aud`` that CI id_tokens must have; empty: they are not taken.
    :param job_tokens: CI job tokens are taken.
    :param bots: project and group access tokens and service accounts are taken.
    :param scopes: a token must carry one of them; none: any will do.
    :param service_token: what memberships and users are looked up with where the caller's own token cannot.
    :param allow: who may come in; none: everyone with a valid token.
    """

    url: str
    cache_size: int = 10_000
    cache_seconds: float = 60.0
    refused_seconds: float = 30.0
    grace_seconds: float = 900.0
    audience: str = ""
    job_tokens: bool = True
    bots: bool = False
    scopes: tuple[str, ...] = ()
    service_token: Secret | None = None
    allow: tuple[AllowSettings, ...] = ()


@frozen
class UserTokenSettings:
    """
    One ``[[user_token]]``: a key that the operator gives out, without GitLab.

    :param user_id: whom the log names.
    :param token: what the caller sends as the API key.
    """

    user_id: str
    token: Secret
