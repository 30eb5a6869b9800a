"""
Which rules are about somebody: by what GitLab said of them, by their own token, or by the service token.

May import the access and config rooms.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from attrs import evolve, frozen

from gptproxy.access.caller import Identity
from gptproxy.access.gitlab_answers import whole_number
from gptproxy.access.gitlab_api import PER_PAGE, GitLabAPI, segment
from gptproxy.access.refusals import GitLabAway
from gptproxy.config import ACCESS_LEVELS, AllowSettings, Secret

__all__ = ["Memberships", "Standing", "lies_in", "names_user"]

PAGES = 20
"""Of a caller's groups and projects, a hundred each: who is in more is known by the service token, or not at all."""

_MISSING = frozenset((404,))
# What tells that a token, or a GitLab, does not offer its associations.
_NO_ASSOCIATIONS = frozenset((400, 401, 403, 404))


@frozen
class Standing:
    """
    :param matched: the rules that are about somebody.
    :param told: GitLab told all that was needed; False: some rules could not be looked at.
    """

    matched: frozenset[AllowSettings]
    told: bool = True


def names_user(rule: AllowSettings, identity: Identity) -> bool:
    """:return: whether it is this user that the rule names, by id or by name (GitLab's names know no case)."""
    return rule.user.casefold() in (str(identity.user_id), identity.username.casefold())


def lies_in(path: str, group: str) -> bool:
    """
    :param path: of a project or group.
    :param group: a group's full path.
    :return: whether it is in the group or one below, by whole segments: ``a/b`` lies in ``a``, ``ab`` does not.
    """
    return bool(group) and path.casefold().startswith(f"{group.casefold()}/")


class Memberships:
    """
    :param api: asks GitLab.
    :param service_token: for what a caller's own token does not tell; None: that stays unknown.
    """

    def __init__(self, api: GitLabAPI, service_token: Secret | None) -> None:
        self._api = api
        self._service_token = service_token

    async def user(self, user_id: int) -> dict[str, object] | None:
        """
        :param user_id: a user's number.
        :return: what ``GET /users/:id`` says; None where there is no service token, or no such user.
        :raise GitLabAway: there was no answer.
        """
        return await self._look_up(f"/users/{user_id}")

    async def standing(
        self, identity: Identity, rules: Sequence[AllowSettings], own: Secret | None
    ) -> Standing:
        """
        :param identity: whom GitLab named.
        :param rules: what is to be known.
        :param own: their own token; None where there is none that could ask.
        :return: which of the rules are about them.
        :raise GitLabAway: there was no answer.
        """
        if identity.is_job:
            return await self._of_job(identity, rules)
        named = frozenset(rule for rule in rules if rule.user and names_user(rule, identity))
        places = [rule for rule in rules if not rule.user]
        if not places:
            return Standing(named)
        if own is not None:
            found = await self._by_own_token(places, own)
            if found is not None:
                return Standing(named | found)
        if self._service_token is None:
            return Standing(named, told=False)
        members = {rule for rule in places if await self._is_member(rule, identity.user_id)}
        return Standing(named | members)

    # People, by their own token

    async def _by_own_token(
        self, rules: Iterable[AllowSettings], token: Secret
    ) -> frozenset[AllowSettings] | None:
        by_level: dict[int, list[AllowSettings]] = {}
        for rule in rules:
            by_level.setdefault(rule.min_access_level, []).append(rule)
        matched: set[AllowSettings] = set()
        for level, here in by_level.items():
            found = await self._associated(here, level, token)
            if found is None:
                found = await self._listed(here, level, token)
            if found is None:
                return None
            matched |= found
        return frozenset(matched)

    async def _associated(
        self, rules: Sequence[AllowSettings], level: int, token: Secret
    ) -> set[AllowSettings] | None:
        """:return: the rules that match, by a call that any scope may make (GitLab 17.4); None where there is none."""
        matched: set[AllowSettings] = set()
        path = f"/personal_access_tokens/self/associations?min_access_level={level}"
        for page in range(1, PAGES + 1):
            status, content = await self._api.page(path, token, page, _NO_ASSOCIATIONS)
            if status != 200:
                return None
            groups, projects = content.get("groups"), content.get("projects")
            if not isinstance(groups, list) or not isinstance(projects, list):
                raise GitLabAway("GitLab answered 200 with something that are no associations")
            matched |= self._in_rows(rules, groups, projects)
            if len(matched) == len(rules) or max(len(groups), len(projects)) < PER_PAGE:
                return matched
        return matched

    async def _listed(
        self, rules: Sequence[AllowSettings], level: int, token: Secret
    ) -> set[AllowSettings] | None:
        """:return: the rules that match, by lists that need the scope read_api; None where it is missing."""
        matched: set[AllowSettings] = set()
        lists = []
        if any(rule.group for rule in rules):
            lists.append((f"/groups?min_access_level={level}&all_available=false", True))
        if any(rule.project for rule in rules):
            lists.append((f"/projects?min_access_level={level}&membership=true&simple=true", False))
        for path, are_groups in lists:
            for page in range(1, PAGES + 1):
                rows = await self._api.rows(path, token, page)
                if isinstance(rows, int):
                    return None
                matched |= self._in_rows(
                    rules, rows if are_groups else [], [] if are_groups else rows
                )
                if len(matched) == len(rules) or len(rows) < PER_PAGE:
                    break
        return matched

    def _in_rows(
        self, rules: Iterable[AllowSettings], groups: Sequence[object], projects: Sequence[object]
    ) -> set[AllowSettings]:
        group_names = {name for row in groups for name in self._names(row, "full_path", "groups/")}
        project_names = {
            name for row in projects for name in self._names(row, "path_with_namespace", "")
        }
        return {
            rule
            for rule in rules
            if rule.group.casefold() in group_names or rule.project.casefold() in project_names
        }

    def _names(self, row: object, path_key: str, page_prefix: str) -> list[str]:
        """:return: what a rule may call this group or project: its id, and its path, which its page's URL has too."""
        if not isinstance(row, dict) or (number := whole_number(row.get("id"))) is None:
            return []
        path, page = row.get(path_key), row.get("web_url")
        start = f"{self._api.url}/{page_prefix}"
        if not isinstance(path, str) and isinstance(page, str) and page.startswith(start):
            path = page.removeprefix(start)
        return [str(number), path.casefold()] if isinstance(path, str) and path else [str(number)]

    # By the service token

    async def _look_up(self, path: str) -> dict[str, object] | None:
        token = self._service_token
        if token is None:
            return None
        status, content = await self._api.get(path, token, expected=_MISSING)
        if status == 200:
            return content
        if status == 404:
            return None
        raise GitLabAway(f"GitLab refuses the service_token with {status}: nobody can be looked up")

    async def _is_member(self, rule: AllowSettings, user_id: int) -> bool:
        where = "groups" if rule.group else "projects"
        level = await self._level(where, rule.group or rule.project, user_id)
        return level is not None and level >= rule.min_access_level

    async def _level(self, where: str, which: str, user_id: int) -> int | None:
        """:return: the user's access level there; None where they are no member, or nobody can be asked."""
        member = await self._look_up(f"/{where}/{segment(which)}/members/all/{user_id}")
        if member is None or member.get("state") != "active":
            return None
        if member.get("membership_state", "active") != "active":
            return None
        return whole_number(member.get("access_level"))

    # CI jobs: it is their project that counts

    async def _of_job(self, job: Identity, rules: Sequence[AllowSettings]) -> Standing:
        matched: set[AllowSettings] = set()
        for rule in rules:
            if rule.protected_refs_only:
                job = await self._with_protection(job)
                if not job.ref_protected:
                    continue
            if rule.user:
                found = names_user(rule, job)
            else:
                found = await self._runs_in(rule, job) and await self._has_level(rule, job)
            if found:
                matched.add(rule)
        return Standing(frozenset(matched))

    async def _with_protection(self, job: Identity) -> Identity:
        if job.ref_protected is not None:
            return job
        kind = "tags" if job.is_tag else "branches"
        found = await self._look_up(
            f"/projects/{job.project_id}/repository/{kind}/{segment(job.ref)}"
        )
        return evolve(job, ref_protected=found is not None and found.get("protected") is True)

    async def _runs_in(self, rule: AllowSettings, job: Identity) -> bool:
        path = job.project_path.casefold()
        if rule.project:
            return rule.project.casefold() in (str(job.project_id), path or None)
        if not rule.group.isdigit():
            return lies_in(path, rule.group)
        if rule.group == str(job.namespace_id):
            return True
        group = await self._look_up(f"/groups/{rule.group}")
        full_path = None if group is None else group.get("full_path")
        return isinstance(full_path, str) and lies_in(path, full_path)

    async def _has_level(self, rule: AllowSettings, job: Identity) -> bool:
        # Who runs a job in a project is at least a guest there.
        if rule.min_access_level <= ACCESS_LEVELS["guest"]:
            return True
        level = job.level
        if level is None:
            level = await self._level("projects", str(job.project_id), job.user_id)
        return level is not None and level >= rule.min_access_level
