"""What the rooms tell whoever counts: each event once, under a name that the table of figures has."""

from __future__ import annotations

from collections import Counter

from twisted.internet.defer import Deferred

from gptproxy.config import KnowledgeSettings, RetrySettings
from gptproxy.http import OwnCalls
from gptproxy.knowledge import Knowledge
from gptproxy.metrics import FAMILIES
from gptproxy.upstream import ModelList, Sender
from tests.access.rig import BOB, AccessCase
from tests.knowledge.test_retrieval import ConsultCase
from tests.upstream.examples import LOCAL, OPENAI, a_call
from tests.upstream.sender_case import BOTH, FILTERED, OK, SenderCase, error
from tests.upstream.standins import Answer, ScriptedAgent, Step

LABELS = {family.name: len(family.labels) for family in FAMILIES}


class Counted:
    """Somebody who counts."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, ...]] = Counter()
        self.times: list[tuple[str, float, tuple[str, ...]]] = []

    def count(self, family: str, *labels: str, amount: float = 1.0) -> None:
        assert len(labels) == LABELS[family]
        self.counts[family, *labels] += int(amount)

    def observe(self, family: str, value: float, *labels: str) -> None:
        assert len(labels) == LABELS[family]
        self.times.append((family, value, labels))


class SendingTests(SenderCase):
    def counted(self, *script: Step) -> Counter[tuple[str, ...]]:
        """:return: what was told of one call."""
        self.agent = ScriptedAgent(script)
        counted = Counted()
        sender = Sender(
            self.agent,  # type: ignore[arg-type]  # its stand-in
            self.clock,
            lambda: 1.0,
            RetrySettings(),
            figures=counted,
        )
        sending = Deferred.fromCoroutine(
            sender.send(a_call(), BOTH, own_key=False, request_id="r-1")
        )
        self.clock.pump([1.0] * 20)
        self.successResultOf(sending)
        return counted.counts

    def test_how_a_call_goes_on(self) -> None:
        """To the same upstream, to another, and to another because of its filter."""
        self.assertEqual(self.counted(OK), {})
        self.assertEqual(self.counted(error(500), OK), {("retries", "primary"): 1})
        self.assertEqual(self.counted(error(429), OK), {("failovers", "primary"): 1})
        self.assertEqual(self.counted(FILTERED, OK), {("filter_switches", "primary"): 1})


class ModelListTests(SenderCase):
    def test_lists(self) -> None:
        """Asked for once, and at hand then."""
        counted = Counted()
        agent = ScriptedAgent([Answer(200, b'{"data":[]}')])
        calls = OwnCalls(agent, self.clock, lambda: 1.0)
        models = ModelList((OPENAI, LOCAL), calls, self.clock, counted)
        for _ in range(2):
            self.successResultOf(Deferred.fromCoroutine(models.models()))
        self.assertEqual(counted.counts["cache_lookups", "model_lists", "miss"], 1)
        self.assertEqual(counted.counts["cache_lookups", "model_lists", "hit"], 1)


class AccessTests(AccessCase):
    def test_verdicts(self) -> None:
        """GitLab's, and whether they were at hand; how long it took; for how long it is away."""
        counted = Counted()
        self.make()
        self.access._figures = counted
        self.caller(BOB)
        self.caller(BOB)
        self.refusal("glpat-nobody-knows")
        self.assertIsNone(self.access.gitlab_away_seconds())
        self.gitlab.instead["/api/v4/user"] = Answer(502, b"")
        self.assertEqual(self.refusal("glpat-another").status, 503)
        self.assertEqual(
            counted.counts,
            {
                ("cache_lookups", "verdicts", "miss"): 3,
                ("cache_lookups", "verdicts", "hit"): 1,
                ("gitlab_verdicts", "known"): 1,
                ("gitlab_verdicts", "refused"): 1,
                ("gitlab_verdicts", "away"): 1,
            },
        )
        self.assertEqual([name for name, _, _ in counted.times], ["gitlab_seconds"] * 3)
        self.assertEqual(self.access.known_callers(), 2)
        self.clock.advance(60)
        away = self.access.gitlab_away_seconds()
        assert away is not None
        self.assertGreaterEqual(away, 60.0)
        del self.gitlab.instead["/api/v4/user"]
        self.clock.advance(60)
        self.refusal("glpat-a-third")
        self.assertIsNone(self.access.gitlab_away_seconds())


class RetrievalTests(ConsultCase):
    def test_outcomes(self) -> None:
        """Of each search, and whether the question's vector was at hand."""
        counted = Counted()
        knowledge = self.knowledge()
        knowledge._figures = counted
        for collection, question in [("docs", "SQLite"), ("docs", "SQLite"), ("docs", "  ")]:
            self.successResultOf(knowledge.find(collection, question))
        self.failureResultOf(knowledge.find("no such", "SQLite"))
        self.assertEqual(
            [labels for _, _, labels in counted.times],
            [("found",), ("found",), ("none",), ("failed",)],
        )
        self.assertEqual(counted.counts["cache_lookups", "questions", "miss"], 1)
        self.assertEqual(counted.counts["cache_lookups", "questions", "hit"], 1)

    def test_too_late_and_given_up(self) -> None:
        """The one is told, the other is nobody's fault."""
        counted = Counted()
        never: Deferred[object] = Deferred()

        class Never:
            def run(self, *_: object) -> Deferred[object]:
                return never

        settings = KnowledgeSettings(self.path)
        knowledge = Knowledge(settings, lambda *_: self.embedding, Never(), self.clock, counted)  # type: ignore[arg-type]  # as much as is asked
        left = knowledge.find("docs", "x")
        left.cancel()
        self.failureResultOf(left)
        self.assertEqual(counted.times, [])
        never = Deferred()
        late = knowledge.find("docs", "x")
        self.clock.advance(settings.search_seconds)
        self.failureResultOf(late)
        self.assertEqual(counted.times, [("retrieval_seconds", settings.search_seconds, ("late",))])
