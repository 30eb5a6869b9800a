"""Routes whose model OpenAI chooses where the caller names none."""

from __future__ import annotations

from attrs import evolve

from gptproxy.access import Caller
from gptproxy.api import api_tree
from gptproxy.config import UpstreamSettings
from tests.api.rig import OWN, SETTINGS, UPSTREAM, Access, Listing, Visitor, error_of
from tests.api.test_passed_call import FORM, SECOND, ObjectsTestCase, form

CHOOSES = ("/images/generations", "/responses")
FORMS = ("/images/edits", "/images/variations")


class DefaultModelTests(ObjectsTestCase):
    def before(self, *upstreams: UpstreamSettings, caller: Caller | None = None) -> None:
        """Let these be the upstreams, and this the caller."""
        access = self.access if caller is None else Access(caller)
        settings = evolve(SETTINGS, upstreams=upstreams)
        self.visitor = Visitor(
            api_tree(self.clock, settings, access, self.sending, Listing(), objects=self.objects)
        )

    def refused(self, route: str, body: bytes = b'{"prompt":"x"}', *fields: str) -> object:
        answer = self.ask("POST", route, body, *fields)
        self.assertEqual(answer.status, 400)
        self.assertEqual(self.sending.calls, [])
        return error_of(answer)["code"]

    def test_it_is_left_to_who_has_every_model(self) -> None:
        """The body goes up as it came: what OpenAI takes changes from year to year, and is not guessed."""
        self.before(UPSTREAM, evolve(SECOND, aliases={"*": "renamed"}))
        for route, body, *fields in [
            *((route, b'{"prompt":"x"}') for route in CHOOSES),
            *((route, form(("prompt", "x")), FORM) for route in FORMS),
        ]:
            self.assertEqual(self.ask("POST", route, body, *fields).status, 200)
            call, targets, _, _ = self.sending.calls[-1]
            self.assertEqual((call.model, call.body), ("", body))
            self.assertEqual(
                [(each.upstream.name, each.model) for each in targets], [("second", "")]
            )

    def test_nobody_has_every_model(self) -> None:
        """A deployment has to be named."""
        self.before(UPSTREAM, evolve(SECOND, deployments={"gpt-image-2": "gpt-image-2"}))
        for route in CHOOSES:
            self.assertEqual(self.refused(route), "missing_required_parameter")
        for route in FORMS:
            body = form(("prompt", "x"))
            self.assertEqual(self.refused(route, body, FORM), "missing_required_parameter")

    def test_whose_models_are_listed(self) -> None:
        """Has to say which; so has who brings a key of their own."""
        self.before(SECOND, caller=Caller("gitlab", "carol", models=("gpt-4",)))
        for route in CHOOSES:
            self.assertEqual(self.refused(route), "missing_required_parameter")
        self.assertEqual(
            self.refused(FORMS[0], form(("prompt", "x")), FORM), "missing_required_parameter"
        )
        self.before(SECOND, caller=OWN)
        self.assertEqual(self.refused(CHOOSES[0]), "missing_required_parameter")

    def test_where_openai_chooses_none(self) -> None:
        """All the others need one."""
        self.before(SECOND)
        for route in ("/chat/completions", "/embeddings", "/audio/speech", "/responses/compact"):
            self.assertEqual(self.refused(route), "missing_required_parameter")
        self.assertEqual(self.refused("/images/generations", b'{"model":7}'), "invalid_type")
        self.assertEqual(
            self.refused("/images/edits", form(("model", "")), FORM), "missing_required_parameter"
        )

    def test_a_pattern_of_aliases(self) -> None:
        """Renames no name that is not there: a moderation's body stays what it is."""
        self.before(evolve(SECOND, aliases={"*": "renamed"}))
        self.assertEqual(self.ask("POST", "/moderations", b'{"input":"x"}').status, 200)
        (_, (target,), _, _) = self.sending.calls[-1]
        self.assertEqual(target.model, "")
