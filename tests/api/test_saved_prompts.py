"""Saved prompts and workflows: made past the gateway, so that they are nobody's own, and for all or for none."""

from __future__ import annotations

import orjson
from attrs import evolve

from gptproxy.api import api_tree
from gptproxy.config import AccessSettings
from tests.api.rig import OWN, SETTINGS, UPSTREAM, Listing, Visitor, error_of
from tests.api.test_passed_call import FORM, ObjectsTestCase, form, made

SAID = "put into [access] prompts."


class SavedPromptTests(ObjectsTestCase):
    def allow(self, *prompts: str) -> None:
        upstream = evolve(UPSTREAM, kind="openai", url="https://up/v1")
        settings = evolve(SETTINGS, upstreams=(upstream,), access=AccessSettings(prompts=prompts))
        root = api_tree(
            self.clock, settings, self.access, self.sending, Listing(), objects=self.objects
        )
        self.visitor = Visitor(root)

    def post(self, target: str, body: bytes, *fields: str) -> tuple[int, bytes]:
        self.sending.calls.clear()
        self.sending.answer = made(b'{"id":"x_1"}').answer
        self.visitor.ask("POST", target, body, *fields)
        self.clock.turn(100)
        answer = self.visitor.answer()
        if answer.status != 200:
            self.assertEqual(self.sending.calls, [])
            self.refused = error_of(answer)
        return answer.status

    def response(self, name: str = "pmpt_1", pad: str = "", **more: object) -> bytes:
        return orjson.dumps({"model": "gpt-4", "x": pad, "prompt": {"id": name, **more}})

    def test_none(self) -> None:
        """Unless the configuration says otherwise: with a sentence, the same for each, and nothing goes up."""
        self.allow()
        seen = set()
        for target, body in (
            ("/responses", self.response()),
            ("/responses", self.response("pmpt_that_there_is_not")),
            ("/responses", self.response(pad="x" * 300_000)),
            ("/responses/input_tokens", self.response()),
            ("/responses/compact", self.response()),
            ("/realtime/client_secrets", b'{"session":{"prompt":{"id":"pmpt_1"}}}'),
            ("/chatkit/sessions", b'{"workflow":{"id":"wf_1"},"user":"u"}'),
        ):
            with self.subTest(target=target):
                self.assertEqual(self.post(target, body), 403)
                self.assertTrue(str(self.refused["message"]).endswith(SAID))
                seen.add(orjson.dumps(self.refused))
        self.assertEqual(len(seen), 1)

    def test_some(self) -> None:
        """By their ids, or by patterns; one that is not among them spoils the call."""
        self.allow("pmpt_1", "wf_*")
        self.assertEqual(self.post("/responses", self.response(version="2")), 200)
        self.assertEqual(self.post("/responses", self.response("pmpt_10")), 403)
        self.assertEqual(self.post("/responses", self.response("PMPT_1")), 403)
        two = b'{"model":"gpt-4","prompt":{"id":"pmpt_1","id":"pmpt_2"}}'
        self.assertEqual(self.post("/responses", two), 403)
        self.assertEqual(self.post("/chatkit/sessions", b'{"workflow":{"id":"wf_9"}}'), 200)
        # What the prompt's variables name is looked at all the same.
        file = {"f": {"type": "input_file", "file_id": "file-9"}}
        self.assertEqual(self.post("/responses", self.response(variables=file)), 404)

    def test_all(self) -> None:
        self.allow("*")
        self.assertEqual(self.post("/responses", self.response("pmpt_7")), 200)

    def test_a_text_is_none(self) -> None:
        """Of pictures, completions and videos."""
        self.allow()
        picture = orjson.dumps({"model": "gpt-4", "prompt": "A cat"})
        self.assertEqual(self.post("/images/generations", picture), 200)
        self.assertEqual(self.post("/completions", picture), 200)
        video = form(("prompt", "A cat"), ("model", "gpt-4"))
        self.assertEqual(self.post("/videos", video, FORM), 200)
        self.assertEqual(self.post("/images/edits", video, FORM), 200)

    def test_with_a_key_of_ones_own(self) -> None:
        """All is the caller's."""
        self.allow()
        self.access.verdict = OWN
        body = b'{"model":"own-model","prompt":{"id":"pmpt_1"}}'
        self.assertEqual(self.post("/responses", body), 200)
