"""Callers with a list of models get at no other one by what they write beside the model's name."""

from __future__ import annotations

from gptproxy.access import Caller
from tests.api.rig import error_of
from tests.api.test_passed_call import ObjectsTestCase, made

LIMITED = Caller("gitlab", "carol", models=("gpt-4",))


class OtherModelTests(ObjectsTestCase):
    def post(self, body: bytes, route: str = "/responses") -> int:
        self.sending.answer = made(b'{"id":"resp_1"}').answer
        answer = self.ask("POST", route, body)
        if answer.status != 200:
            self.assertEqual(self.sending.calls, [])
            self.refused = error_of(answer)
        return answer.status

    def test_the_tools_own_default(self) -> None:
        """Whichever of two members of one name the upstream keeps."""
        self.access.verdict = LIMITED
        for models in (b'"model":"gpt-4","model":null', b'"model":null,"model":"gpt-4"'):
            tool = b'{"type":"image_generation",%b}' % models
            self.assertEqual(self.post(b'{"model":"gpt-4","tools":[%b]}' % tool), 403)

    def test_the_model_in_other_letters(self) -> None:
        """Is the same member to a server that does not tell them apart."""
        self.access.verdict = LIMITED
        for name in (b"Model", b"MODEL", b"m\\u004fdel"):
            for route in ("/chat/completions", "/responses", "/embeddings"):
                body = b'{"model":"gpt-4","%b":"o1"}' % name
                self.assertEqual(self.post(body, route), 400)
                self.assertEqual(self.refused["code"], "invalid_reference")

    def test_where_all_models_are_for_all(self) -> None:
        """What else is in a body is the upstream's business."""
        self.assertEqual(self.post(b'{"model":"gpt-4","Model":"o1"}'), 200)
