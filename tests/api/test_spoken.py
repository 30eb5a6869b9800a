"""Spoken answers: their ids become the callers', as they pass."""

from __future__ import annotations

import orjson
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from gptproxy.api import Turns
from gptproxy.api.json_call import read_json_call
from gptproxy.api.spoken import MOST_ANSWERS, OVERLAP_BYTES, HeardSpeech, has_sound
from tests.api.rig import ALICE, OWN, Upstream, chat, error_of, held
from tests.api.test_passed_call import BOB, SSE, ObjectsTestCase, made

SPOKEN = "audio_0123456789abcdef"
SOUND = {"modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "wav"}}


def answer(*ids: str, data: str = "UklG" * 50_000) -> bytes:
    said = [
        {"index": 0, "message": {"role": "assistant", "audio": {"data": data, "id": each}}}
        for each in ids
    ]
    return orjson.dumps({"id": "chatcmpl-1", "choices": said})


def heard(*pieces: bytes) -> list[list[tuple[str, str]]]:
    told: list[list[tuple[str, str]]] = []
    speech = HeardSpeech(told.append)
    for piece in pieces:
        assert speech.receive(piece) is piece
    assert speech.finish() == b""
    return told


def test_cut_anywhere() -> None:
    """An id is heard once, wherever its answer is cut."""
    text = b'{"audio": {"data": "%b", "id" : "%b", "x": 1}}' % (b"U" * 400, SPOKEN.encode())
    for place in range(1, len(text)):
        assert heard(text[:place], text[place:]) == [[(SPOKEN, "spoken")]], place
    assert heard(*(bytes([each]) for each in text)) == [[(SPOKEN, "spoken")]]


def test_what_is_none() -> None:
    """Ids of other things, texts that look like one, and what is longer than any id."""
    for text in (
        b'{"id":"chatcmpl-1"}',
        orjson.dumps({"content": '"id":"audio_1"'}),
        orjson.dumps({"content": '{\\"id\\":\\"audio_1\\"}'}),
        b'{"id":"audio%b"}' % (b"x" * OVERLAP_BYTES),
        b'{"id":"audio_',
    ):
        assert heard(text) == []


def test_a_bound() -> None:
    """An upstream that tells ids without end is not listened to for ever."""
    told = heard(*(b'{"id":"audio_%d"}' % number for number in range(2 * MOST_ANSWERS)))
    assert len(told) == MOST_ANSWERS


class SpokenTests(ObjectsTestCase):
    def spoken(self, body: bytes, upstream: Upstream) -> bytes:
        self.sending.answer = upstream.answer
        return self.ask("POST", "/chat/completions", body).body

    def test_whose_it_is(self) -> None:
        """The one's whom it was said to; others get a 404, as for what there is not, and nothing goes up."""
        body = answer(SPOKEN, SPOKEN[::-1], SPOKEN + "2")
        self.assertEqual(self.spoken(chat(**SOUND), made(body, name="second")), body)
        self.assertEqual(self.owner_of(SPOKEN), (ALICE.owner, "second"))
        self.assertEqual(self.owner_of(SPOKEN + "2"), (ALICE.owner, "second"))
        self.sending.calls.clear()
        for verdict, name in ((BOB, SPOKEN), (ALICE, "audio_of_nobody")):
            self.access.verdict = verdict
            for pad in ("", "x" * 300_000):
                said = [{"role": "assistant", "x": pad, "audio": {"id": name}}]
                asked = orjson.dumps({"model": "gpt-4", "messages": said})
                refused = self.ask("POST", "/chat/completions", asked)
                self.assertEqual(refused.status, 404)
                self.assertEqual(error_of(refused)["message"], f"No such object: {name}")
        self.assertEqual(self.sending.calls, [])

    def test_it_goes_where_it_is(self) -> None:
        """A later call that names it is for the upstream that said it; Azure's classic path is no way around."""
        self.own(SPOKEN, kind="spoken")
        said = [{"role": "assistant", "audio": {"id": SPOKEN}}]
        asked = orjson.dumps({"model": "gpt-4", "messages": said})
        for path in ("/chat/completions", "/openai/deployments/gpt-4/chat/completions"):
            self.sending.answer = held(200, b"{}")
            self.access.verdict = ALICE
            self.assertEqual(self.ask("POST", path, asked).status, 200)
            self.assertEqual(self.sending.calls.pop()[0].affinity, "primary")
            self.access.verdict = BOB
            self.assertEqual(self.ask("POST", path, asked).status, 404)
        self.assertEqual(self.sending.calls, [])

    def test_a_stream(self) -> None:
        """Known before the caller has read of it, and never held up."""
        upstream = Upstream(SSE)
        self.sending.answer = upstream.answer
        self.visitor.ask("POST", "/chat/completions", chat(stream=True, **SOUND))
        self.clock.turn(30)
        event = b'data: {"choices":[{"delta":{"audio":{"id":"%b"}}}]}\n\n' % SPOKEN.encode()
        upstream.say(b"data: {}\n\n", event[:50])
        self.assertIn(event[:50], self.visitor.sent)
        self.assertIsNone(self.owner_of(SPOKEN))
        upstream.say(event[50:])
        self.assertEqual(self.owner_of(SPOKEN), (ALICE.owner, "primary"))
        upstream.end()

    def test_when_it_cannot_be_recorded(self) -> None:
        """The answer is given all the same, and is nobody's."""
        self.threads.busy = True
        body = answer(SPOKEN)
        self.assertEqual(self.spoken(chat(**SOUND), made(body)), body)
        self.threads.busy = False
        self.assertIsNone(self.owner_of(SPOKEN))

    def test_only_where_sound_is_asked_for(self) -> None:
        """Other chats pass as they are; so do answers that are held, and those to a key of the caller's own."""
        body = answer(SPOKEN)
        self.assertEqual(self.spoken(chat(), made(body)), body)
        self.sending.answer = held(400, body)
        self.assertEqual(self.ask("POST", "/chat/completions", chat(**SOUND)).body, body)
        self.access.verdict = OWN
        self.assertEqual(self.spoken(chat("own-model", **SOUND), made(body)), body)
        self.assertIsNone(self.owner_of(SPOKEN))


def test_where_sound_is() -> None:
    """In what is asked for, and in earlier answers that a message names: wherever a parser finds them."""
    for body, expected in (
        (chat(), False),
        (chat(modalities=["text"]), True),
        (chat(audio={"voice": "alloy"}), True),
        (orjson.dumps({"model": "m", "voice": "alloy"}), True),
        (orjson.dumps({"model": "m", "messages": ["audio", {"x": {"audio": 1}}]}), False),
        (orjson.dumps({"model": "m", "messages": {"audio": 1}}), False),
        (b'{"model":"m","messages":[{"audio":1,"aud\\u0069o":2}]}', True),
    ):
        call = Deferred.fromCoroutine(read_json_call(body, Turns(Clock())))
        found: list[bool] = []
        call.addCallback(lambda read, found=found: found.append(has_sound(read)))
        assert found == [expected], body
