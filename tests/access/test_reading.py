"""Rules of other rooms: who may read a collection."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from gptproxy.access import Caller
from gptproxy.config import AllowSettings, AzureKey, Secret
from tests.access.rig import (
    ALICE,
    BOB,
    SERVICE,
    USER_TOKEN,
    AccessCase,
)
from tests.upstream.standins import Answer

ENGINEERING = AllowSettings(group="engineering")
DEVELOPERS = AllowSettings(group="engineering", min_access_level=30)
MAINTAINERS = AllowSettings(group="engineering", min_access_level=40)


class ReadingTests(AccessCase):
    """Rules of other rooms: who may read a collection."""

    def may(self, caller: Caller, *rules: AllowSettings) -> bool:
        asking = Deferred.fromCoroutine(self.access.may_read(caller, rules))
        outcome: list[object] = []
        asking.addBoth(outcome.append)
        self.clock.pump([0.5, 1.0])
        self.assertIsInstance(outcome[0], bool)
        return bool(outcome[0])

    def test_known_beforehand(self) -> None:
        """Rules that were named at the start are looked up with the caller's own token."""
        self.make(other_rules=[DEVELOPERS, MAINTAINERS])
        caller = self.caller(ALICE)
        before = self.calls_made()
        self.assertTrue(self.may(caller))
        self.assertTrue(self.may(caller, DEVELOPERS))
        self.assertTrue(self.may(caller, MAINTAINERS, DEVELOPERS))
        self.assertFalse(self.may(caller, MAINTAINERS))
        self.assertFalse(self.may(self.caller(USER_TOKEN), DEVELOPERS))
        self.assertEqual(self.calls_made(), before)

    def test_no_way_in(self) -> None:
        """They let nobody in, and keep nobody out."""
        self.make(AllowSettings(user="alice"), other_rules=[AllowSettings(user="bob")])
        self.assertEqual(self.refusal(BOB).status, 403)
        self.assertEqual(self.caller(ALICE).name, "alice")

    def test_others(self) -> None:
        """The service token tells, once a minute; without one nobody does."""
        caller = self.caller(ALICE)
        self.assertFalse(self.may(caller, ENGINEERING))
        self.assertTrue(self.may(caller, AllowSettings(user="alice")))
        self.make(service_token=SERVICE, cache_size=2)
        before = self.calls_made()
        for _ in range(3):
            self.assertTrue(self.may(caller, ENGINEERING))
            self.assertFalse(self.may(caller, AllowSettings(group="sales")))
        self.assertEqual(self.calls_made(), before + 2)
        self.clock.advance(60)
        self.assertTrue(self.may(caller, ENGINEERING))
        self.assertFalse(self.may(caller, AllowSettings(group="12")))
        self.assertEqual(self.calls_made(), before + 4)
        azure = Caller("azure_key", "gpt1", AzureKey("gpt1", {"a": "b"}, Secret("k" * 32)))
        self.assertFalse(self.may(azure, ENGINEERING))
        self.assertTrue(self.may(azure))

    def test_gitlab_away(self) -> None:
        """What was known stays for the time of grace; what was not is no."""
        self.make(service_token=SERVICE)
        caller = self.caller(ALICE)
        self.assertTrue(self.may(caller, ENGINEERING))
        self.gitlab.instead = {"/": Answer(503)}
        self.clock.advance(60)
        self.assertTrue(self.may(caller, ENGINEERING))
        self.assertFalse(self.may(caller, DEVELOPERS))
        self.clock.advance(840)
        self.assertFalse(self.may(caller, ENGINEERING))
