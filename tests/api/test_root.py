"""Which path is answered by what."""

from __future__ import annotations

import orjson
import pytest
from treq.testing import StubTreq
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from gptproxy.api import Exchange, UnknownRoute, api_tree, route_tree
from gptproxy.upstream import Model
from tests.api.rig import (
    CANARY,
    SETTINGS,
    Access,
    Answering,
    Listing,
    LoggedTestCase,
    Sending,
    Visitor,
    chat,
    error_of,
)

MODEL_ROUTES = (
    "/chat/completions",
    "/completions",
    "/embeddings",
    "/responses",
    "/audio/speech",
    "/images/generations",
)


def tree(clock: Clock, sending: Sending | None = None):
    """:return: the routes as the daemon has them."""
    listing = Listing(Model("gpt-4", 1, "x"), Model("org/llama", 2, "y"))
    return api_tree(clock, SETTINGS, Access(), sending or Sending(), listing)


class RouteTests(LoggedTestCase):
    """On our own Site."""

    def ask(self, method: str, target: str, body: bytes | None = None):
        visitor = Visitor(tree(Clock()))
        visitor.ask(method, target, body)
        return visitor.answer()

    def test_every_route_with_and_without_version(self) -> None:
        """Clients are pointed at either, and paste it twice; a trailing slash changes nothing."""
        for route in MODEL_ROUTES:
            for base in ("", "/v1", "/v1/v1"):
                for tail in ("", "/", "?beta=true"):
                    with self.subTest(base + route + tail):
                        answer = self.ask("POST", base + route + tail, chat())
                        self.assertEqual(answer.status, 200)
        for target in ("/models", "/v1/models", "/v1/v1/models/", "/v1/models?limit=1"):
            with self.subTest(target):
                answer = self.ask("GET", target)
                content = orjson.loads(answer.body)
                self.assertEqual([m["id"] for m in content["data"]], ["gpt-4", "org/llama"])

    def test_the_upstreams_path_is_the_tables(self) -> None:
        """The call names the route, however the caller spelled the path; its query goes along as sent."""
        sending = Sending()
        visitor = Visitor(tree(Clock(), sending))
        visitor.ask("POST", "/v1/v1/chat%2Fcompletions", chat())
        self.assertEqual(visitor.answer().status, 404)
        visitor.ask("POST", "/v1/v1/chat/%63ompletions/?a=1&b[]=%2F", chat())
        self.assertEqual(visitor.answer().status, 200)
        ((call, _, _, _),) = sending.calls
        self.assertEqual((call.route, call.query), ("/chat/completions", b"a=1&b[]=%2F"))

    def test_what_is_not_a_route_is_404(self) -> None:
        """In OpenAI's form, whatever the method, without the path in the answer or in the log."""
        for method, target in [
            ("GET", "/"),
            ("GET", "/v1"),
            ("GET", "/v1/"),
            ("POST", "/v1/v1"),
            ("GET", "/v1/chat"),
            ("POST", "/chat/"),
            ("DELETE", f"/v1/{CANARY}"),
            ("OPTIONS", f"/v1/{CANARY}?{CANARY}"),
            ("POST", f"/v1/chat/completions/{CANARY}/x"),
            ("GET", f"/v1/embeddings/{CANARY}/x"),
            ("POST", "/V1/chat/completions"),
            ("GET", "/v1/openai/"),
            ("GET", "/openai/deployments"),
            ("GET", "/openai/deployments/gpt-4"),
            ("GET", "/openai/deployments/gpt-4/files"),
            ("POST", "/v1/deployments/gpt-4/chat/completions"),
            ("POST", f"/files/{CANARY}/content/x"),
        ]:
            with self.subTest(method=method, target=target):
                answer = self.ask(method, target)
                self.assertEqual(answer.status, 404)
                self.assertEqual(error_of(answer)["code"], "unknown_url")
                self.assertNotIn(CANARY.encode(), answer.body)
                self.assertIn(self.access_lines()[-1]["route"], ("-", *MODEL_ROUTES))

    def test_ambiguous_paths_are_400_in_the_same_form(self) -> None:
        """The HTTP room refuses them, in this room's words."""
        for target in ("/v1//models", "/v1/../models", "/v1/%2e%2e/models", "/v1\\models"):
            with self.subTest(target):
                answer = self.ask("GET", target)
                self.assertEqual(answer.status, 400)
                error_of(answer)

    def test_wrong_methods_are_405(self) -> None:
        """With those that are right."""
        for method, target, allowed in [
            ("PUT", "/v1/chat/completions", b"POST, GET, HEAD"),
            ("HEAD", "/embeddings", b"POST"),
            ("BREW", "/embeddings", b"POST"),
            ("POST", "/models", b"GET, DELETE, HEAD"),
            ("POST", "/files/file-1", b"GET, DELETE, HEAD"),
        ]:
            with self.subTest(method=method, target=target):
                answer = self.ask(method, target)
                self.assertEqual((answer.status, answer.headers[b"allow"]), (405, allowed))
                if method != "HEAD":
                    self.assertEqual(error_of(answer)["code"], "method_not_allowed")

    def test_refused_before_the_body(self) -> None:
        """Nobody who waits for leave to send is told to, and no body is waited for, above the routes either."""
        for target in ("/v1/nope", "/v1/chat", "/", "/v1/models"):
            with self.subTest(target):
                visitor = Visitor(tree(Clock()))
                visitor.client.send(
                    b"POST %b HTTP/1.1\r\nhost: h\r\ncontent-length: 500000\r\n"
                    b"expect: 100-continue\r\n\r\n" % target.encode()
                )
                self.assertNotIn(b"100 Continue", visitor.sent)
                visitor.method = b"POST"
                self.assertIn(visitor.answer().status, (404, 405))


class TwistedSiteTests(SynchronousTestCase):
    """The same tree under twisted.web's own Site, by treq."""

    def test_routes(self) -> None:
        """Known, unknown and wrongly asked."""
        treq = StubTreq(tree(Clock()))
        for method, path, status in [
            ("POST", "/v1/chat/completions", 200),
            ("POST", "/chat/completions/", 200),
            ("GET", "/v1/models/org%2Fllama", 200),
            ("GET", "/v1/models/org/llama", 200),
            ("PUT", "/v1/chat/completions", 405),
            ("GET", "/v1/chat", 404),
            ("GET", "/", 404),
            ("POST", "/v1/chat/completions/x/y", 404),
        ]:
            body = chat() if method == "POST" else None
            done = treq.request(method, f"http://h{path}", data=body)
            treq.flush()
            response = self.successResultOf(done)
            content = treq.content(response)
            treq.flush()
            orjson.loads(self.successResultOf(content))
            self.assertEqual((path, response.code), (path, status))
            self.assertTrue(response.headers.getRawHeaders("x-gptproxy-request-id"))
            self.assertEqual(response.headers.getRawHeaders("content-type"), ["application/json"])

    def test_a_caller_who_leaves(self) -> None:
        """Cancels the call there too."""
        cancelled: list[object] = []
        sending = Sending(Deferred(cancelled.append))
        treq = StubTreq(tree(Clock(), sending))
        done = treq.request("POST", "http://h/v1/embeddings", data=chat())
        treq.flush()
        self.assertNoResult(done)
        done.cancel()
        treq.flush()
        self.failureResultOf(done)
        self.assertEqual(len(cancelled), 1)


def answer(exchange: Exchange) -> None:
    """Say anything."""
    exchange.answer_json({})


def test_routes_side_by_side() -> None:
    """Two below one segment are both found."""
    clock = Clock()
    models = {route: Answering(clock, answer) for route in ("/a/b", "/a/c")}
    for route in models:
        visitor = Visitor(
            route_tree(
                {route: {b"GET": each} for route, each in models.items()}, UnknownRoute(clock)
            )
        )
        visitor.ask("GET", route)
        assert visitor.answer().status == 200


@pytest.mark.parametrize("route", ["/a", "/a/b", "/a/b/c"])
def test_a_tree_of_one(route: str) -> None:
    """A route of any depth is found, and nothing above or below it."""
    clock = Clock()
    visitor = Visitor(route_tree({route: {b"GET": Answering(clock, answer)}}, UnknownRoute(clock)))
    visitor.ask("GET", route)
    assert visitor.answer().status == 200
    visitor.ask("GET", route.rpartition("/")[0] or "/")
    assert visitor.answer().status == 404
