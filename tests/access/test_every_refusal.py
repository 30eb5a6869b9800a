"""Each place in the room that makes a refusal is come to; what it says and leaves behind has no credential in it."""

from __future__ import annotations

import ast
import io
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import jwt
import orjson
from attrs import evolve
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionLost
from twisted.logger import globalLogPublisher, textFileLogObserver
from twisted.python.failure import Failure

import gptproxy.access
from gptproxy.access import model_not_allowed, slots
from gptproxy.config import AllowSettings, Secret, UserTokenSettings
from gptproxy.http import ConnectFailed, MalformedMessage
from gptproxy.wire import Refusal
from tests.access.rig import AUDIENCE, ORIGIN, SELF, URL, USER, AccessCase, user_answer
from tests.access.test_id_token import KEY, forged, signed
from tests.upstream.standins import Answer, Asked, leaks

MAKERS = (
    "GitLabAway",
    "Refusal",
    "forbidden",
    "invalid_credential",
    "model_not_allowed",
    "too_many_invalid",
)
ROOM = Path(gptproxy.access.__file__).parent

PIECE = "Zq8Lm2Xv7Rt5Wk9N"
TOKEN = f"glpat-{PIECE}"
SERVICE = Secret(f"glpat-service-{PIECE}")
USERS = Secret(f"sk-{PIECE}-user")
KEYS = "/oauth/discovery/keys"
ASSOCIATIONS = f"{SELF}/associations"
NARROW = Answer(403, b'{"error":"insufficient_scope","scope":"api read_user"}')
BARE_401 = Answer(401, b'{"message":"401 Unauthorized"}')
MEMBERS = AllowSettings(group="engineering")
PROTECTED = AllowSettings(group="engineering", models=("gpt-4",), protected_refs_only=True)


def sites() -> set[tuple[str, int]]:
    """:return: file and line of everything in the room that makes a refusal."""
    found = set()
    for path in ROOM.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id in MAKERS
            ):
                found.add((path.name, node.lineno))
    return found


def facts(**changes: object) -> Answer:
    """:return: what GitLab says of a token."""
    said = {"user_id": 1, "scopes": ["api"], "active": True, "revoked": False, "expires_at": None}
    return Answer(200, orjson.dumps({**said, **changes}))


def key_set() -> Answer:
    """:return: GitLab's keys, as :func:`~tests.access.test_id_token.signed` signs."""
    key = jwt.algorithms.RSAAlgorithm.to_jwk(KEY.public_key(), as_dict=True)
    return Answer(200, orjson.dumps({"keys": [{**key, "kid": "k1", "alg": "RS256"}]}))


class EveryRefusalTests(AccessCase):
    def setUp(self) -> None:
        super().setUp()
        self.log, self.written = io.StringIO(), io.StringIO()
        observer = textFileLogObserver(self.log)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        for name in ("stdout", "stderr"):
            self.patch(sys, name, self.written)
        self.passed: set[tuple[str, int]] = set()
        self.refused = 0

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Note which lines of the room are passed. A measurement of coverage misses them meanwhile."""
        before = sys.gettrace()

        def inside(frame: FrameType, event: str, arg: object) -> Any:
            if event == "line":
                self.passed.add((Path(frame.f_code.co_filename).name, frame.f_lineno))
            return inside

        def entering(frame: FrameType, event: str, arg: object) -> Any:
            return inside if Path(frame.f_code.co_filename).parent == ROOM else None

        sys.settrace(entering)
        try:
            yield
        finally:
            sys.settrace(before)

    def begin(self, **settings: Any) -> None:
        """A new Authenticator, before a GitLab that says of everybody that they are alice."""
        chosen: dict[str, Any] = {"audience": AUDIENCE, "service_token": SERVICE, **settings}
        allow = chosen.pop("allow", ())
        self.make(*allow, user_tokens=[UserTokenSettings("ann", USERS)], **chosen)
        self.gitlab.instead = {SELF: facts(), USER: user_answer("alice"), KEYS: key_set()}

    def met(self, status: int, *fields: tuple[str, str], **instead: object) -> Refusal:
        """
        :return: the refusal that comes of a call with these fields, where GitLab says this.
        """
        before = self.gitlab.instead
        said = before | {PATHS[each]: answer for each, answer in instead.items()}
        # The first that a path begins with counts: the longest is to be it.
        self.gitlab.instead = dict(sorted(said.items(), key=lambda each: -len(each[0])))
        lines = [(name.encode(), value.encode()) for name, value in fields]
        asking = Deferred.fromCoroutine(self.access.caller(lines, "192.0.2.1"))
        outcome: list[object] = []
        asking.addBoth(outcome.append)
        self.clock.pump([0.5, 1.0, 5.0, 15.0])
        self.gitlab.instead = before
        (found,) = outcome
        return self.grepped(found, status)

    def grepped(self, found: object, status: int) -> Refusal:
        assert isinstance(found, Failure), found
        error = found.value
        assert isinstance(error, Refusal), found
        self.assertEqual(error.status, status, error.message)
        self.refused += 1
        shown: list[object] = [error, vars(error), error.args, error.body(), error.headers]
        shown += [found.getTraceback(), "".join(traceback.format_exception(error))]
        for each in (self.access, *vars(self.access).values()):
            shown += [each, vars(each) if hasattr(each, "__dict__") else ""]
        self.assertFalse(leaks(PIECE, *shown), [each for each in shown if leaks(PIECE, each)])
        self.assertRegex(error.message, r"^[A-Z][^\n]*\.$")
        self.assertNotRegex(error.message, r"\. [A-Z]", "one sentence")
        return error

    def bearer(self, status: int, token: str = TOKEN, **instead: object) -> Refusal:
        return self.met(status, ("authorization", f"Bearer {token}"), **instead)

    def test_all(self) -> None:
        with self.watched():
            self.headers()
            self.accounts()
            self.jobs()
            self.id_tokens()
            self.memberships()
            self.gitlab_is_away()
            self.too_many()
            self.assertFalse(leaks(PIECE, model_not_allowed("gpt-4").body()))
        missed = sorted(sites() - self.passed)
        self.assertEqual(missed, [], "nothing comes to these")
        self.assertGreater(self.refused, 50)
        self.assertFalse(leaks(PIECE, self.log.getvalue(), self.written.getvalue()))

    def headers(self) -> None:
        self.begin(without_gitlab=True)
        self.met(401)
        self.bearer(401)
        self.begin()
        self.met(401, ("authorization", f"Basic {PIECE}"))
        self.met(401, ("authorization", f"Bearer {PIECE} {PIECE}"))
        self.met(401, ("api-key", f"{PIECE} {PIECE}"))
        self.met(400, ("authorization", f"Bearer {PIECE}"), ("api-key", TOKEN))
        for kind in ("gldt-", "glrt-", "glptt-", "glft-"):
            self.bearer(401, kind + PIECE)
        self.bearer(401, f"gpt1:gpt-4|d:{PIECE}")
        self.begin(pure_proxy=True)
        self.bearer(401, f"gpt1/x:gpt-4|d:{PIECE}")
        self.bearer(401, f"gpt1:gpt-4:{PIECE}")

    def accounts(self) -> None:
        said = PIECE.encode()
        for status, body in (
            (401, b'{"error":"invalid_token","error_description":"%b"}' % said),
            (401, b'{"error":"dpop_error","error_description":"%b"}' % said),
            (401, b'{"error":"%b"}' % said),
            (403, b'{"message":"403 Forbidden - Your account has been blocked. %b"}' % said),
            (403, b'{"message":"403 Forbidden - %b"}' % said),
            (403, b'{"error":"%b"}' % said),
        ):
            self.begin()
            self.bearer(status, user=Answer(status, body), job=BARE_401)
        self.begin()
        self.bearer(401, user=BARE_401, job=BARE_401)
        self.bearer(403, TOKEN + "2", user=user_answer("alice", state="blocked"))
        bot = Answer(200, b'{"id":7,"username":"b","state":"active","bot":true}')
        self.bearer(403, TOKEN + "3", user=bot)
        for status, said_of_it in ((401, facts(active=False)), (503, facts(user_id=None))):
            self.begin()
            self.bearer(status, itself=said_of_it)
        oauth = {"itself": Answer(400, b'{"error":"bad_request"}')}
        self.begin()
        self.bearer(503, user=Answer(200, b'{"id":1}'))
        self.bearer(403, TOKEN + "5", itself=NARROW)
        self.bearer(503, info=Answer(200, b'{"scope":7}'), **oauth)
        self.bearer(401, TOKEN + "4", info=BARE_401, **oauth)
        self.begin(scopes=("ai_features",))
        self.bearer(403)
        # A scope that is too narrow.
        for status, instead in (
            (403, {"itself": Answer(404, b'{"error":"404 Not Found"}')}),
            (401, {"itself": BARE_401}),
            (401, {"itself": facts(revoked=True)}),
            (403, {"looked_up": Answer(404, b'{"message":"404 User Not Found"}')}),
            (403, {"looked_up": user_answer("alice", state="blocked")}),
            (403, {"looked_up": bot}),
        ):
            self.begin()
            self.bearer(status, user=NARROW, **instead)
        self.begin(service_token=None)
        self.bearer(403, user=NARROW)

    def jobs(self) -> None:
        job = ("job-token", f"glcbt-{PIECE}")
        self.begin(job_tokens=False)
        self.met(401, job)
        for status, said in (
            (401, BARE_401),
            (401, Answer(404, b'{"message":"404 Not found"}')),
            (503, Answer(200, b'{"id":"%b"}' % PIECE.encode())),
            (403, Answer(200, _job(state="blocked"))),
        ):
            self.begin()
            self.met(status, job, job=said)
        self.begin(allow=(AllowSettings(group="nobody"),))
        self.met(403, job, job=Answer(200, _job()))

    def id_tokens(self) -> None:
        self.clock.advance(max(0.0, 1_700_000_000 - self.clock.seconds()))
        now = int(self.clock.seconds())
        good = {"iss": URL, "exp": now + 3600, "nbf": now - 5, "jti": PIECE}
        self.begin()
        for token in (
            forged({"alg": "RS256", "kid": "k1"}, PIECE),
            forged({"alg": "none", "kid": "k1"}, PIECE),
            forged({"alg": "RS256", "kid": PIECE}),
            signed(**{**good, "iss": f"https://{PIECE}"}),
            signed(**{**good, "aud": f"https://{PIECE}"}),
            signed(**{**good, "exp": PIECE}),
            signed(**{**good, "exp": now - 60}),
            signed(**{**good, "nbf": now + 3600}),
            signed(**{**good, "user_id": PIECE}),
        ):
            refusal = self.bearer(401, token)
            self.assertFalse(leaks(token, refusal.body(), vars(refusal), self.log.getvalue()))
        self.begin()
        self.bearer(503, signed(**good), keys=Answer(200, b'{"keys":"%b"}' % PIECE.encode()))
        self.begin()
        self.met(503, ("api-key", signed(**good)), keys=None)
        self.begin()
        lines = [(b"api-key", signed(**good).encode())]
        self.gitlab.instead[KEYS] = Answer(500, PIECE.encode())
        for _ in range(2):
            # The second within the pause behind the first's failure.
            asking = Deferred.fromCoroutine(self.access.caller(lines, "192.0.2.1"))
            outcome: list[object] = []
            asking.addBoth(outcome.append)
            self.clock.pump([0.5, 1.0])
            self.grepped(outcome[0], 503)

    def memberships(self) -> None:
        self.begin(allow=(MEMBERS,), service_token=None)
        nothing = Answer(200, b'{"groups":[],"projects":[]}')
        self.assertIn("become a member", self.bearer(403, associations=nothing).message)
        self.begin(allow=(MEMBERS,), service_token=None)
        missing = Answer(404, b'{"error":"404 Not Found"}')
        said = self.bearer(403, associations=missing, groups=NARROW)
        self.assertIn("does not tell your groups", said.message)
        self.begin(allow=(MEMBERS,))
        self.bearer(503, associations=Answer(200, b'{"groups":"%b"}' % PIECE.encode()))
        self.begin(allow=(MEMBERS,))
        self.bearer(503, associations=missing, groups=Answer(200, b'{"x":"%b"}' % PIECE.encode()))
        self.begin(allow=(MEMBERS,))
        self.bearer(503, associations=missing, groups=NARROW, members=BARE_401)
        self.begin(allow=(AllowSettings(user="bob"),))
        self.bearer(403)
        self.begin(allow=(PROTECTED,))
        self.bearer(403, associations=nothing)

    def gitlab_is_away(self) -> None:
        for said in (
            Answer(200, b"<html>%b</html>" % PIECE.encode()),
            Answer(302, b"", ((b"location", f"https://evil/{PIECE}".encode()),)),
            Answer(429, PIECE.encode(), ((b"retry-after", b"30"),)),
            Answer(502, PIECE.encode()),
            Answer(200, PIECE.encode() * 10_000),
            ConnectionLost(PIECE),
            MalformedMessage(PIECE),
            ConnectFailed(ORIGIN, Failure(OSError(PIECE))),
            None,
        ):
            self.begin()
            self.bearer(503, user=said)
        self.begin(allow=[evolve(MEMBERS, min_access_level=level) for level in (10, 20, 30, 40)])
        seen: set[bytes] = set()

        def slow(asked: Asked) -> Answer:
            if asked.target in seen:
                return {USER: user_answer("alice"), SELF: facts()}.get(
                    asked.target.decode(), Answer(200, b'{"groups":[],"projects":[]}')
                )
            seen.add(asked.target)
            return Answer(503, PIECE.encode(), ((b"retry-after", b"4"),))

        self.gitlab.instead = {"/": slow}
        outcome: list[object] = []
        lines = [(b"api-key", TOKEN.encode())]
        Deferred.fromCoroutine(self.access.caller(lines, "")).addBoth(outcome.append)
        self.clock.pump([1.0] * 20)
        self.assertIn("no verdict in", self.grepped(outcome[0], 503).cause)
        self.begin()
        # Asked to be left alone about this token, and asked again.
        self.gitlab.instead[USER] = Answer(429, b"Retry later", ((b"retry-after", b"300"),))
        self.assertGreater(self.retry_after(self.bearer(503)), 200)
        self.assertGreater(self.retry_after(self.bearer(503)), 200)

    def retry_after(self, refusal: Refusal) -> int:
        return int(dict(refusal.headers)[b"retry-after"])

    def too_many(self) -> None:
        self.begin()
        for number in range(30):
            self.bearer(401, f"{TOKEN}-{number}", user=BARE_401, job=BARE_401)
            # The bucket is not to fill while it is emptied.
            self.clock.rightNow -= 21.5
        self.bearer(429, f"{TOKEN}-more")
        # More than there are places for, and more than may wait for one.
        self.patch(slots, "MOST", 2)
        self.patch(slots, "WAITING", 3)
        # While one waits for a place the others of its address have emptied the bucket.
        self.begin()
        self.gitlab.instead[USER] = None
        waiting = [
            Deferred.fromCoroutine(
                self.access.caller([(b"api-key", f"{TOKEN}-w{number}".encode())], "192.0.2.9")
            )
            for number in range(3)
        ]
        last: list[object] = []
        waiting.pop().addBoth(last.append)
        for _ in range(40):
            self.access._invalid.sent("192.0.2.9", self.clock.seconds())
        for each in waiting:
            each.addErrback(lambda failure: failure.trap(CancelledError))
            each.cancel()
        self.grepped(last[0], 429)
        self.begin()
        self.gitlab.instead[USER] = None
        asking = []
        for number in range(6):
            lines = [(b"authorization", f"Bearer {TOKEN}-{number}".encode())]
            asking.append(Deferred.fromCoroutine(self.access.caller(lines, f"192.0.2.{number}")))
        outcomes: list[object] = []
        for each in asking:
            each.addBoth(outcomes.append)
        self.clock.pump([5.0, 0.5, 5.0, 5.0, 5.0])
        for each in asking:
            each.cancel()
        self.assertEqual(len(outcomes), len(asking))
        for outcome in outcomes:
            assert not (isinstance(outcome, Failure) and outcome.check(CancelledError))
            self.grepped(outcome, 503)


def _job(state: str = "active") -> bytes:
    user = {"id": 1, "username": "alice", "state": state}
    web_url = f"{URL}/engineering/x/-/jobs/5"
    return orjson.dumps(
        {
            "id": 5,
            "status": "running",
            "ref": "main",
            "web_url": web_url,
            "user": user,
            "pipeline": {"project_id": 20},
        }
    )


PATHS = {
    "user": f"{USER}",
    "itself": SELF,
    "info": "/oauth/token/info",
    "job": "/api/v4/job",
    "keys": KEYS,
    "looked_up": "/api/v4/users/",
    "associations": ASSOCIATIONS,
    "groups": "/api/v4/groups?",
    "members": "/api/v4/groups/",
}
