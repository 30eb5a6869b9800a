"""The list of models that callers may name."""

from __future__ import annotations

import orjson
import pytest
from attrs import evolve
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from gptproxy.http import OwnCalls
from gptproxy.upstream import Model, ModelList
from gptproxy.upstream.model_list import models_in
from tests.upstream.examples import KEY, LOCAL, OPENAI, PRIMARY, SECONDARY
from tests.upstream.standins import Answer, ScriptedAgent, Step

GPT4O = {"id": "gpt-4o", "object": "model", "created": 1715367049, "owned_by": "system"}
LIST = Answer(200, orjson.dumps({"object": "list", "data": [GPT4O, {"id": "ada"}]}))


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (LIST.body, [Model("gpt-4o", 1715367049, "system"), Model("ada", 0, "")]),
        (b'{"data":[]}', []),
        (b'{"data":null}', []),
        (b'{"data":{"id":"x"}}', []),
        (b'{"data":[1,null,"x",[],{},{"id":7},{"id":"x","created":"y","owned_by":1}]}', None),
        (b"[]", "none"),
        (b"null", "none"),
        (b"{}", "none"),
        (b"", "none"),
        (b"<html>", "none"),
    ],
)
def test_models_in(body: bytes, expected: list[Model] | str | None) -> None:
    """What is no model is passed over; what is no list is none."""
    if expected is None:
        expected = [Model("x", 0, "")]
    assert models_in(body) == (None if expected == "none" else expected)


def test_as_json() -> None:
    """OpenAI's model object."""
    assert Model("gpt-4o", 1715367049, "system").as_json() == GPT4O


class ModelListTests(SynchronousTestCase):
    """Over an agent in memory."""

    def setUp(self) -> None:
        self.clock = Clock()

    def make(self, *script: Step, upstreams: tuple[object, ...] = (PRIMARY, OPENAI)) -> None:
        self.agent = ScriptedAgent(script)
        calls = OwnCalls(self.agent, self.clock, lambda: 1.0)
        self.list = ModelList(upstreams, calls, self.clock)  # type: ignore[arg-type]  # they are

    def ask(self) -> Deferred[list[Model]]:
        return Deferred.fromCoroutine(self.list.models())

    def names(self) -> list[str]:
        asking = self.ask()
        return [model.name for model in self.successResultOf(asking)]

    def test_what_is_mapped(self) -> None:
        """Nobody is asked: the map says it all, each name once, the first upstream's."""
        self.make(upstreams=(PRIMARY, SECONDARY, LOCAL))
        models = self.successResultOf(self.ask())
        self.assertEqual(
            models,
            [Model("gpt-4", 0, "primary"), Model("ada", 0, "primary"), Model("llama", 0, "local")],
        )
        self.assertEqual(self.agent.asked, [])

    def test_what_upstreams_have(self) -> None:
        """An upstream without a map is asked, with its key; mapped names come first."""
        self.make(LIST)
        self.assertEqual(self.names(), ["gpt-4", "ada", "gpt-4o"])
        (asked,) = self.agent.asked
        self.assertEqual((asked.method, asked.target), (b"GET", b"/v1/models"))
        self.assertEqual(asked.values(b"authorization"), [b"Bearer " + KEY.encode()])

    def test_five_minutes(self) -> None:
        """A list is good for that long."""
        self.make(LIST, Answer(200, b'{"data":[{"id":"new"}]}'), upstreams=(OPENAI,))
        for seconds in (0, 299.9):
            self.clock.advance(seconds)
            self.assertEqual(self.names(), ["gpt-4o", "ada"])
        self.clock.advance(0.1)
        self.assertEqual(self.names(), ["new"])
        self.assertEqual(len(self.agent.asked), 2)

    def test_an_upstream_that_fails(self) -> None:
        """Its last list stands; it is not asked again for a while, then it is."""
        for trouble in (
            Answer(401),
            Answer(302, b"", ((b"location", b"/login"),)),
            Answer(200, b"<html>Sign in</html>"),
            Answer(204),
        ):
            self.make(LIST, trouble, LIST, upstreams=(OPENAI,))
            self.names()
            self.clock.advance(300)
            for _ in range(3):
                self.assertEqual(self.names(), ["gpt-4o", "ada"])
            self.assertEqual(len(self.agent.asked), 2)
            self.clock.advance(15)
            self.names()
            self.assertEqual(len(self.agent.asked), 3)

    def test_an_upstream_that_never_answered(self) -> None:
        """It adds none; the others are listed."""
        self.make(*[ConnectionLost()] * 3)
        asking = self.ask()
        self.clock.pump([0.5, 1.0])
        self.assertEqual([model.name for model in self.successResultOf(asking)], ["gpt-4", "ada"])

    def test_an_empty_list(self) -> None:
        """A server may have no model yet; that is an answer."""
        self.make(Answer(200, b'{"object":"list","data":null}'), upstreams=(OPENAI,))
        self.assertEqual((self.names(), self.names()), ([], []))

    def test_lists_are_each_upstreams_own(self) -> None:
        """Two that are asked are kept apart."""
        other = evolve(OPENAI, name="other", url="http://127.0.0.1/v1", api_key=None)
        self.make(
            LIST, Answer(200, b'{"data":[{"id":"ada"},{"id":"x"}]}'), upstreams=(OPENAI, other)
        )
        self.assertEqual(self.names(), ["gpt-4o", "ada", "x"])
        self.assertEqual(self.names(), ["gpt-4o", "ada", "x"])
        self.assertEqual(self.agent.asked[1].values(b"authorization"), [])

    def test_too_slow_and_leaving(self) -> None:
        """Ten seconds, and whoever leaves ends the call."""
        self.make(None, None, upstreams=(OPENAI,))
        asking = self.ask()
        self.clock.advance(10)
        self.assertEqual(self.successResultOf(asking), [])
        self.clock.advance(15)
        asking = self.ask()
        asking.cancel()
        self.failureResultOf(asking, CancelledError)
        self.assertEqual((self.agent.dropped, self.clock.getDelayedCalls()), (2, []))

    def test_who_ask_together_share_a_call(self) -> None:
        """One who leaves takes nothing from the others; the last one takes the call along."""
        self.make(None, LIST, upstreams=(OPENAI,))
        first, second = self.ask(), self.ask()
        self.assertEqual(len(self.agent.asked), 1)
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.assertEqual(self.agent.dropped, 0)
        second.cancel()
        self.failureResultOf(second, CancelledError)
        self.assertEqual(self.agent.dropped, 1)
        self.assertEqual(self.names(), ["gpt-4o", "ada"])

    def test_patterns_and_aliases(self) -> None:
        """Of an upstream's own list, what the patterns let through; aliases stand in front."""
        upstream = evolve(OPENAI, deployments={"gpt-*": "*"}, aliases={"small": "gpt-4o-mini"})
        self.make(LIST, upstreams=(upstream,))
        self.assertEqual(self.names(), ["small", "gpt-4o"])
