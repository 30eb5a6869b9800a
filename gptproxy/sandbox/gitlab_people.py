"""Who is in the stand-in for a GitLab: people, what they belong to, their tokens, their CI jobs.

Pure: imports nothing of Twisted.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from attrs import field, frozen

__all__ = [
    "GROUPS",
    "JOBS",
    "PROJECTS",
    "TOKENS",
    "USERS",
    "Job",
    "Person",
    "Place",
    "Token",
    "level_in",
]


@frozen
class Person:
    """A user, or the user of a project's access token."""

    user_id: int
    username: str
    name: str
    state: str = "active"
    bot: bool = False


@frozen
class Token:
    """A personal, project or OAuth access token."""

    user_id: int
    scopes: tuple[str, ...] = ("read_user",)
    state: str = "active"
    oauth: bool = False


@frozen
class Place:
    """A group or a project, and the access levels of its direct members by user id."""

    place_id: int
    path: str
    members: Mapping[int, int] = field(factory=dict)


@frozen
class Job:
    """A CI job that is running, by its token."""

    job_id: int
    user_id: int
    project_id: int
    ref: str


_PEOPLE = (
    Person(1, "alice", "Alice Adams"),
    Person(2, "bob", "Bob Brown"),
    Person(3, "carol", "Carol Clark"),
    Person(4, "dave", "Dave Davis"),
    Person(5, "erin", "Erin Evans"),
    Person(6, "frank", "Frank Foster", state="blocked"),
    Person(7, "project_20_bot_5a5a5a", "A project's token", bot=True),
    Person(8, "service", "The gateway's own"),
)
USERS: Mapping[int, Person] = MappingProxyType({person.user_id: person for person in _PEOPLE})

TOKENS: Mapping[str, Token] = MappingProxyType(
    {
        "glpat-sandbox-alice": Token(1),
        "glpat-sandbox-bob": Token(2, ("api",)),
        "glpat-sandbox-revoked": Token(3, state="revoked"),
        "glpat-sandbox-expired": Token(4, state="expired"),
        "glpat-sandbox-narrow": Token(5, ("read_repository",)),
        "glpat-sandbox-duo": Token(5, ("ai_features",)),
        "glpat-sandbox-blocked": Token(6),
        "glpat-sandbox-bot": Token(7, ("api",)),
        "glpat-sandbox-service": Token(8, ("read_api",)),
        "5a" * 32: Token(1, ("read_user", "read_api"), oauth=True),
    }
)

#: Access levels: 30 developer, 40 maintainer.
GROUPS = (
    Place(10, "engineering", {1: 30, 8: 20}),
    Place(11, "engineering/web", {2: 40}),
    Place(12, "sales", {2: 30}),
)
PROJECTS = (
    Place(20, "engineering/web/app", {7: 30}),
    Place(21, "alice/notes", {1: 50}),
)

JOBS: Mapping[str, Job] = MappingProxyType(
    {
        "glcbt-sandbox-alice": Job(300, 1, 20, "main"),
        "glcbt-sandbox-topic": Job(301, 2, 20, "topic"),
        "glcbt-sandbox-notes": Job(302, 1, 21, "main"),
        "glcbt-sandbox-blocked": Job(303, 6, 20, "main"),
    }
)


def level_in(place: Place, user_id: int) -> int:
    """
    :param place: a group or project.
    :param user_id: a user.
    :return: their access level there, the highest of its own and the groups above; 0 for none.
    """
    above = [each for each in GROUPS if place.path.startswith(f"{each.path}/")]
    return max(each.members.get(user_id, 0) for each in (place, *above))
