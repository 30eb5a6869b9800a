"""GitLab fails for ten minutes, in each way it has: nobody gets a false 401, and no stranger comes in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import pytest
from attrs import frozen
from twisted.internet import error
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from gptproxy.access import Caller
from gptproxy.access.outage import PROBE_SECONDS
from gptproxy.http import ConnectFailed
from gptproxy.wire import Refusal
from tests.access.rig import ALICE, AUDIENCE, BOB, JOB, OAUTH, ORIGIN, AccessCase
from tests.upstream.standins import Answer, Step

MINUTES = 10
EVERY_SECONDS = 5
"""Between two rounds of calls: more of them than verdicts are good for without being asked about."""

SIGN_IN = (
    b'<!DOCTYPE html><html><head><title>Sign in \xc2\xb7 GitLab</title></head><body class="login-page">'
    b'<form action="/users/sign_in"><input name="authenticity_token"></form></body></html>'
)
HTML = ((b"content-type", b"text/html; charset=utf-8"),)

WAYS: dict[str, Step] = {
    "refused": ConnectFailed(ORIGIN, Failure(error.ConnectionRefusedError())),
    "black-holed": None,
    "500": Answer(500, b'{"message":"500 Internal Server Error"}'),
    "429": Answer(429, b"Retry later\n"),
    "429 with Retry-After": Answer(429, b"Retry later\n", ((b"retry-after", b"60"),)),
    "HTML with 200": Answer(200, SIGN_IN, HTML),
}


@frozen
class Count:
    """What became of calls: each tally by the names of who came in, and by status and code of refusals."""

    known: Counter[str]
    job: Counter[str]
    unseen: Counter[str]
    strangers: Counter[str]
    waiting: list[Deferred[None]]


class Away(AccessCase):
    """
    Run by pytest through :func:`test_ten_minutes`, once for each way.

    It is no case of its own.
    """

    __test__ = False

    def runTest(self) -> None:
        """Nothing of its own."""

    def tally(self, token: str, into: Counter[str], waiting: list[Deferred[None]]) -> None:
        """Make a call, and count what becomes of it."""

        def came_in(caller: Caller) -> None:
            into[caller.name] += 1

        def turned_away(failure: Failure) -> None:
            refusal = failure.value
            if not isinstance(refusal, Refusal):
                into[repr(refusal)] += 1
                return
            told = any(name == b"retry-after" for name, _ in refusal.headers)
            into[f"{refusal.status} {refusal.code}{' with retry-after' if told else ''}"] += 1

        waiting.append(self.ask(token).addCallbacks(came_in, turned_away))

    def ten_minutes(self, known: Iterable[str], way: Step) -> Count:
        """
        :param known: tokens whose callers were here just before.
        :param way: all that GitLab does.
        :return: what became of everybody's calls meanwhile.
        """
        count = Count(Counter(), Counter(), Counter(), Counter(), [])
        self.gitlab.instead = {"/": way}
        for number in range(MINUTES * 60 // EVERY_SECONDS):
            for token in known:
                self.tally(token, count.known, count.waiting)
            self.tally(JOB, count.job, count.waiting)
            self.tally(BOB, count.unseen, count.waiting)
            # A new one each time, and one that comes again and again.
            for stranger in (f"glpat-{number:020}", "glpat-stranger-again"):
                self.tally(stranger, count.strangers, count.waiting)
            self.clock.pump([0.5] * (2 * EVERY_SECONDS))
        self.gitlab.instead = {}
        return count


@pytest.mark.parametrize("way", WAYS)
def test_ten_minutes(way: str) -> None:
    """
    Whoever was known is served to the end; everybody else is told to come again, never that the token is wrong; where
    GitLab is down it is asked no more than three times a call, and about the known hardly at all. Then all is well.
    """
    case = Away()
    case.setUp()
    case.make(audience=AUDIENCE)
    # A personal access token, one of OAuth's, and a CI job's id_token, which is good for an hour.
    known = (ALICE, OAUTH, case.gitlab.id_token())
    for token in (*known, JOB):
        assert case.caller(token).name == "alice"
    asked = case.calls_made()
    count = case.ten_minutes(known, WAYS[way])
    rounds = MINUTES * 60 // EVERY_SECONDS
    while_away = case.calls_made() - asked
    # The last ones have three attempts before them.
    case.clock.pump([0.5] * 20)

    assert all(each.called for each in count.waiting)
    assert count.known == {"alice": rounds * len(known)}
    told = {"503 gitlab_unavailable with retry-after"}
    assert set(count.unseen) == set(count.strangers) == told
    # A job's own token is not known for longer than a minute: the job may be over.
    assert set(count.job) == {"alice", *told}
    assert count.unseen.total() == rounds
    assert count.strangers.total() == 2 * rounds
    if way not in ("429", "HTML with 200"):
        # Of four that are not known, three attempts each; of the known one in ten seconds, and at first all of them.
        probes = MINUTES * 60 / PROBE_SECONDS + 2 * len(known)
        assert while_away <= 3 * (4 * rounds + probes)

    # Who was told to come later comes later.
    case.clock.advance(60)
    for token in (*known, JOB):
        assert case.caller(token).name == "alice"
    assert case.caller(BOB).name == "bob"
    assert case.refusal("glpat-stranger-again").status == 401
    case.clock.advance(60)
    case.tearDown()
