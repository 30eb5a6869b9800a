"""Who may come in, and to which models: by groups, projects and users, of people and of CI jobs."""

from __future__ import annotations

import json

import pytest
from attrs import evolve

from gptproxy.access import Caller, model_not_allowed
from gptproxy.access.caller import Identity
from gptproxy.access.membership import PAGES, lies_in, names_user
from gptproxy.config import AllowSettings, Secret
from tests.access.rig import (
    ALICE,
    BOB,
    NARROW,
    OAUTH,
    SELF,
    SERVICE,
    AccessCase,
)
from tests.upstream.standins import Answer, Asked, Step

ASSOCIATIONS = f"{SELF}/associations"
ENGINEERING = AllowSettings(group="engineering")
DEVELOPERS = AllowSettings(group="engineering", min_access_level=30)
MAINTAINERS = AllowSettings(group="engineering", min_access_level=40)
APP = AllowSettings(project="engineering/web/app")


@pytest.mark.parametrize(
    ("path", "group", "lies"),
    [
        ("a/b", "a", True),
        ("a/b/c", "a", True),
        ("a/b/c", "a/b", True),
        ("A/B/c", "a/b", True),
        ("ab/c", "a", False),
        ("a-b/c", "a", False),
        ("a", "a", False),
        ("x/a/b", "a", False),
        ("a/b", "", False),
        ("", "a", False),
    ],
)
def test_whole_segments(path: str, group: str, lies: bool) -> None:
    """A group is not another that begins as it does."""
    assert lies_in(path, group) is lies


def test_users_by_id_and_name() -> None:
    """Ids stay when somebody is renamed; names know no case."""
    alice = Identity(1, "Alice")
    assert names_user(AllowSettings(user="alice"), alice)
    assert names_user(AllowSettings(user="1"), alice)
    assert not names_user(AllowSettings(user="11"), alice)
    assert not names_user(AllowSettings(user="alic"), alice)


def test_models() -> None:
    """Patterns of whole names, case and all; without any, all."""
    caller = Caller("gitlab", "alice", models=("gpt-4o*", "o1"))
    assert caller.may_use("gpt-4o")
    assert caller.may_use("gpt-4o-mini")
    assert caller.may_use("o1")
    assert not caller.may_use("o1-mini")
    assert not caller.may_use("GPT-4o")
    assert not caller.may_use("x-gpt-4o")
    assert Caller("gitlab", "alice").may_use("anything")
    assert not Caller("gitlab", "alice", models=()).may_use("anything")
    refusal = model_not_allowed("gpt-5")
    assert (refusal.status, refusal.code, refusal.param) == (403, "model_not_allowed", "model")


class PeopleTests(AccessCase):
    """By their own token where it tells, else by the service token."""

    def settled(self, token: str, *allow: AllowSettings, **settings: object) -> bool:
        self.make(*allow, **settings)
        asking = self.ask(token)
        outcome: list[object] = []
        asking.addBoth(outcome.append)
        self.clock.pump([0.5, 1.0])
        if isinstance(outcome[0], Caller):
            return True
        self.assertEqual(getattr(outcome[0], "value", None).status, 403)  # type: ignore[union-attr]
        return False

    def test_members(self) -> None:
        """By path in any case and by id, with the least role; of what lies below, but not above."""
        for rule, alice, bob in (
            (ENGINEERING, True, False),
            (AllowSettings(group="Engineering"), True, False),
            (AllowSettings(group="10"), True, False),
            (DEVELOPERS, True, False),
            (MAINTAINERS, False, False),
            (AllowSettings(group="engineering/web", min_access_level=40), False, True),
            (AllowSettings(group="engine"), False, False),
            (AllowSettings(group="sales"), False, True),
            (APP, True, True),
            (AllowSettings(project="20"), True, True),
            (AllowSettings(project="21"), True, False),
            (AllowSettings(project="engineering/web"), False, False),
            (AllowSettings(user="alice"), True, False),
            (AllowSettings(user="2"), False, True),
        ):
            self.assertEqual(self.settled(ALICE, rule), alice, rule)
            self.assertEqual(self.settled(BOB, rule), bob, rule)
            # OAuth tokens know no associations: the lists say the same.
            self.assertEqual(self.settled(OAUTH, rule), alice, rule)
            # Without any call of the caller's own.
            self.gitlab.instead = {ASSOCIATIONS: Answer(404, b'{"error":"404 Not Found"}')}
            self.assertEqual(self.settled(ALICE, rule, service_token=SERVICE), alice, rule)
            self.gitlab.instead = {}

    def test_one_of_several(self) -> None:
        """At least one must match; users alone need no call."""
        self.assertTrue(self.settled(ALICE, MAINTAINERS, AllowSettings(user="alice")))
        before = self.calls_made()
        self.assertTrue(self.settled(ALICE, AllowSettings(user="bob"), AllowSettings(user="alice")))
        self.assertEqual(self.calls_made(), before + 2)

    def test_union_of_models(self) -> None:
        """Who matches several rules may use what any of them has; one without models has all."""
        some = evolve(ENGINEERING, models=("a*", "b"))
        more = AllowSettings(user="alice", models=("b", "c"))
        other = AllowSettings(group="sales", models=("z",))
        self.make(some, more, other)
        self.assertEqual(self.caller(ALICE).models, ("a*", "b", "c"))
        self.assertEqual(self.caller(BOB).models, ("z",))
        self.make(some, AllowSettings(user="alice"))
        self.assertEqual(self.caller(ALICE).models, None)
        self.assertEqual(self.caller(ALICE).groups, {"engineering"})

    def test_what_is_missing(self) -> None:
        """The refusal names the group and the role; rules about users are nobody else's business."""
        self.make(MAINTAINERS, APP, AllowSettings(user="zoe"))
        refusal = self.refusal(NARROW.replace("narrow", "duo"))
        self.assertIn("read_user", refusal.message)
        self.make(MAINTAINERS, AllowSettings(user="zoe"))
        refusal = self.refusal(ALICE)
        self.assertEqual((refusal.status, refusal.code), (403, "access_denied"))
        self.assertIn("group engineering (as maintainer or more)", refusal.message)
        self.assertNotIn("zoe", refusal.message)
        self.make(*(AllowSettings(group=f"g{number}") for number in range(9)))
        self.assertIn("g2 (as guest or more) or others", self.refusal(ALICE).message)
        self.make(AllowSettings(user="zoe"))
        self.assertIn("ask its operator", self.refusal(ALICE).message)

    def test_a_token_that_tells_nothing(self) -> None:
        """What GitLab does not tell is refused, and says which scope would."""
        self.gitlab.instead = {ASSOCIATIONS: Answer(404, b'{"error":"404 Not Found"}')}
        self.make(ENGINEERING)
        self.assertIn("read_api", self.refusal(ALICE).message)

    def test_associations_by_other_names(self) -> None:
        """Groups come with their page's address; what is none of this GitLab's counts by its id alone."""
        page = "http://127.0.0.1:8929/groups/engineering"
        for row, member in (
            ({"id": 10, "web_url": page}, True),
            ({"id": 10, "web_url": f"{page}-x"}, False),
            ({"id": 10, "web_url": page.replace("8929", "9")}, False),
            ({"id": 10, "full_path": "Engineering"}, True),
            ({"id": 10}, False),
            ({"web_url": page}, False),
            ({"id": "10", "web_url": page}, False),
            (7, False),
        ):
            body = json.dumps({"groups": [row], "projects": []}).encode()
            self.gitlab.instead = {ASSOCIATIONS: Answer(200, body)}
            self.assertEqual(self.settled(ALICE, ENGINEERING), member, row)

    def test_no_associations(self) -> None:
        """A 200 counts only with both lists; lists must be lists."""
        self.make(ENGINEERING)
        for answers in (
            {ASSOCIATIONS: Answer(200, b'{"groups":[]}')},
            {ASSOCIATIONS: Answer(502, b"")},
            {ASSOCIATIONS: Answer(404, b'{"x":1}'), "/api/v4/groups": Answer(200, b'{"x":1}')},
            {ASSOCIATIONS: Answer(404, b'{"x":1}'), "/api/v4/groups": Answer(401, b"")},
        ):
            self.gitlab.instead = answers  # type: ignore[assignment]  # steps, all of them
            self.assertEqual(self.refusal(ALICE).status, 503)

    def paged(self, pages: int, *, groups: bool) -> None:
        """Answer so many pages of others' places, then the one that counts."""

        def page(asked: Asked) -> Step:
            number = int(asked.target.rpartition(b"page=")[2])
            rows: list[object] = [{"id": 1000 + each} for each in range(100)]
            if number > pages:
                rows = [{"id": 10, "full_path": "engineering"}]
            if groups:
                return Answer(200, json.dumps(rows).encode())
            return Answer(200, json.dumps({"groups": rows, "projects": []}).encode())

        if groups:
            self.gitlab.instead = {"/api/v4/groups": page}
        else:
            self.gitlab.instead = {ASSOCIATIONS: page}

    def test_pages(self) -> None:
        """They are turned as far as is needed, and twenty at most."""
        for groups, token in ((False, ALICE), (True, OAUTH)):
            for pages, member in ((0, True), (3, True), (PAGES - 1, True), (PAGES, False)):
                self.paged(pages, groups=groups)
                before = self.calls_made()
                self.assertEqual(self.settled(token, ENGINEERING), member)
                extra = 4 if groups else 2
                self.assertEqual(self.calls_made() - before, extra + min(pages + 1, PAGES))

    def test_levels_of_their_own(self) -> None:
        """Rules of different roles are asked about apart."""
        self.make(MAINTAINERS, ENGINEERING, DEVELOPERS)
        caller = self.caller(ALICE)
        self.assertEqual(caller.matched, {ENGINEERING, DEVELOPERS})

    def test_members_who_are_not(self) -> None:
        """A member who awaits approval, or whose account is not active, is none."""
        member = {"id": 5, "username": "erin", "state": "active", "access_level": 30}
        path = "/api/v4/groups/engineering/members/all/5"
        for changes, expected in (
            ({}, True),
            ({"membership_state": "active"}, True),
            ({"membership_state": "awaiting"}, False),
            ({"state": "blocked"}, False),
            ({"access_level": 5}, False),
            ({"access_level": None}, False),
        ):
            body = json.dumps({**member, **changes}).encode()
            self.gitlab.instead = {
                path: Answer(200, body),
                ASSOCIATIONS: Answer(404, b'{"error":"404 Not Found"}'),
            }
            self.assertEqual(self.settled(NARROW, ENGINEERING, service_token=SERVICE), expected)

    def test_a_service_token_that_is_refused(self) -> None:
        """That is the operator's trouble, and nobody's token is wrong for it."""
        self.make(ENGINEERING, service_token=Secret("glpat-sandbox-revoked"))
        self.gitlab.instead = {ASSOCIATIONS: Answer(404, b'{"error":"404 Not Found"}')}
        refusal = self.refusal(ALICE)
        self.assertEqual(refusal.status, 503)
        self.assertIn("service_token", refusal.cause)
