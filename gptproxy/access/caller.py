"""
Who is calling.

Pure: imports the configuration's values only.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Literal

from attrs import field, frozen

from gptproxy.config import AllowSettings, AzureKey

__all__ = ["Caller", "CallerKind", "Identity"]

CallerKind = Literal["azure_key", "gitlab", "user_token"]


@frozen
class Identity:
    """
    Whom GitLab names, before it is decided whether they may come in.

    :param user_id: the user's number; of a CI credential, of the user who runs the job.
    :param username: their name; a made-up one where GitLab tells the number only.
    :param project_id: of a CI credential: the job's project.
    :param project_path: its path with namespace; empty where it is not known.
    :param namespace_id: the group it lies in directly; None where that is not known.
    :param level: the user's access level in it; None where it is not known.
    :param ref: the branch or tag the job runs for.
    :param is_tag: it is a tag.
    :param ref_protected: whether it is protected; None where it is not known.
    """

    user_id: int
    username: str
    project_id: int | None = None
    project_path: str = ""
    namespace_id: int | None = None
    level: int | None = None
    ref: str = ""
    is_tag: bool = False
    ref_protected: bool | None = None

    @property
    def is_job(self) -> bool:
        """:return: whether a CI credential is spoken of."""
        return self.project_id is not None


@frozen
class Caller:
    """
    Somebody who may use the gateway.

    :param kind: what the credential was.
    :param name: for the log: GitLab's user name, the user token's id, or the Azure resource. Never the credential.
    :param azure_key: the caller's own key in the pure proxy; None where the organisation's key is used.
    :param models: patterns of the models they may use; None: all.
    :param identity: whom GitLab named; None where it was not asked.
    :param matched: the rules, of all that were looked at, that are about them.
    """

    kind: CallerKind
    name: str
    azure_key: AzureKey | None = None
    models: tuple[str, ...] | None = None
    identity: Identity | None = None
    matched: frozenset[AllowSettings] = field(default=frozenset(), repr=False)

    @property
    def user_id(self) -> int | None:
        """:return: GitLab's number of the user; None for others."""
        return None if self.identity is None else self.identity.user_id

    @property
    def owner(self) -> str:
        """:return: a stable key for what they own; a CI job owns as the user who runs it."""
        if self.identity is not None:
            return f"gitlab:{self.identity.user_id}"
        return f"{'azure' if self.kind == 'azure_key' else self.kind}:{self.name}"

    @property
    def groups(self) -> frozenset[str]:
        """:return: ids and paths, as the rules have them, of the groups they are known to belong to."""
        return frozenset(rule.group for rule in self.matched if rule.group)

    def may_use(self, model: str) -> bool:
        """
        :param model: a model's name.
        :return: whether the rules that let them in have it.
        """
        return self.models is None or any(fnmatchcase(model, each) for each in self.models)
