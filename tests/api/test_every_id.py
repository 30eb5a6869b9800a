"""Every id in every route's path, query, JSON body and form must be the caller's own: each route is tried."""

from __future__ import annotations

from urllib.parse import quote

import orjson

from gptproxy.api import ROUTES, Operation, Route
from gptproxy.api.route_table import Body
from gptproxy.ownership import NAMES
from gptproxy.upstream import Call, UpstreamAnswer
from tests.api.rig import Sending, error_of
from tests.api.test_passed_call import BOB, FORM, ObjectsTestCase, form

THEIRS = "theirs_0123456789abcdef"
PREFIXES = {
    "audio": "audio_",
    "characters": "char_",
    "model": "ft:",
    "prompt": "pmpt_",
    "video": "video_",
    "voice": "voice_",
    "workflow": "wf_",
}
STREAMED = {"/files", "/uploads/{upload}/parts"}
"""What goes through unread: of their fields none names an object ("Create file", "Add upload part")."""


class Reading(Sending):
    """Reads what is streamed, as an upstream does."""

    def __init__(self) -> None:
        super().__init__()
        self.read = b""

    def write(self, piece: bytes) -> None:
        self.read += piece

    async def send(self, call: Call, *given, **named) -> UpstreamAnswer:
        if call.upload is not None:
            await call.upload.startProducing(self)
        return await super().send(call, *given, **named)


class EveryIdTests(ObjectsTestCase):
    def sender(self) -> Sending:
        return Reading()

    def setUp(self) -> None:
        super().setUp()
        self.own(THEIRS, *(f"{each}{THEIRS}" for each in PREFIXES.values()), owner=BOB)
        self.own("mine")

    def operations(self) -> list[tuple[Route, Operation]]:
        return [
            (route, operation)
            for route in ROUTES
            for operation in route.operations
            if not operation.refused
        ]

    def refused(self, method: bytes, path: str, body: bytes | None = None, *fields: str) -> str:
        """:return: its message; nothing went up."""
        answer = self.ask(method.decode(), path, body, *fields)
        error = error_of(answer)
        self.assertIn(answer.status, (403, 404), (method, path, body, error))
        self.assertEqual(self.sending.calls, [], (method, path, body))
        return str(error["message"])

    def path_of(self, route: Route, theirs: int = -1) -> str:
        """:return: a path of the route; one of its segments may name what is somebody else's."""
        segments = list(route.segments)
        for place, segment in enumerate(segments):
            if segment.startswith("{"):
                segments[place] = THEIRS if place == theirs else "mine"
        return "/v1/" + "/".join(segments)

    def test_paths(self) -> None:
        """The first id, and each behind it that its parent does not answer for."""
        tried = 0
        for route, operation in self.operations():
            self.assertEqual(
                bool(route.names), any(each.startswith("{") for each in route.segments), route.path
            )
            for place in route.names:
                path = self.path_of(route, place)
                body = None if operation.body is Body.NONE else b'{"model":"gpt-4"}'
                json = "content-type: application/json"
                message = self.refused(operation.method, path, body, json)
                self.assertEqual(message, f"No such object: {THEIRS}")
                tried += 1
        self.assertGreater(tried, 80)

    def test_queries(self) -> None:
        for route, operation in self.operations():
            path = self.path_of(route) + f"?file_id={THEIRS}"
            body = None if operation.body is Body.NONE else b'{"model":"gpt-4"}'
            if operation.lists:
                # Their queries are the gateway's own: what goes up is asked for anew.
                continue
            self.refused(operation.method, path, body, "content-type: application/json")

    def test_json_bodies(self) -> None:
        """Each name on each route, small and deep inside."""
        for route, operation in self.operations():
            if operation.body is Body.NONE:
                continue
            few = {"audio", "file_id", "file_ids", "voice"} if route.deployment else NAMES
            for name in few - {"model"}:
                value: object = PREFIXES.get(name, "") + THEIRS
                if name in PREFIXES:
                    value = {"id": value}
                elif name.endswith("_ids") or name == "characters":
                    value = [value]
                where: dict[str, object] = {"a": [{"b": {name: value}}]}
                if route.deployment and name == "audio":
                    # Of sound chats know no other place.
                    where = {"messages": [{"role": "assistant", "audio": value}]}
                elif route.deployment and name == "voice":
                    where = {"audio": {"voice": value}}
                body = orjson.dumps({"model": "gpt-4", **where})
                path = self.path_of(route)
                self.refused(operation.method, path, body, "content-type: application/json")

    def test_forms(self) -> None:
        """Those that are held, and those that are streamed."""
        tried = set()
        for route, operation in self.operations():
            if operation.body not in (Body.FORM, Body.CHECKED_UPLOAD, Body.UPLOAD):
                continue
            if route.path in STREAMED:
                continue
            for field, value in (("file_id", THEIRS), ("x", f'{{"file_ids":["{THEIRS}"]}}')):
                body = form(("model", "gpt-4"), (field, value))
                self.refused(operation.method, self.path_of(route), body, FORM)
                self.assertNotIn(THEIRS.encode(), self.sending.read)
            tried.add(route.path)
        self.assertGreater(len(tried), 10)

    def test_forms_that_are_hard_to_read(self) -> None:
        """Padded beyond what is kept of a field, or with what Python alone reads otherwise."""
        for route, operation in self.operations():
            if operation.body not in (Body.FORM, Body.CHECKED_UPLOAD):
                continue
            for more in (" " * 65_536, ',"x":' + "1" * 5000, r',"x":{"file_id":"\ud800"}'):
                body = form(("model", "gpt-4"), ("x", f'{{"file_id":"{THEIRS}"{more}}}'))
                path = self.path_of(route)
                answer = self.ask(operation.method.decode(), path, body, FORM)
                # 404: the upstream that keeps what the path names does not have the route.
                self.assertIn(answer.status, (400, 404), path)
                self.assertEqual(self.sending.calls, [], path)
                self.assertNotIn(THEIRS.encode(), self.sending.read)

    def test_queries_that_cannot_be_told(self) -> None:
        """Of any route: they are the caller's mistake, and no failure of ours."""
        self.own("file-1")
        for target in ("/files/file-1", "/files", "/files/file-1/content"):
            for value in (r'{"file_id":"\ud800"}', '{"file_id":"f","x":' + "1" * 5000 + "}"):
                answer = self.ask("GET", f"{target}?x={quote(value)}")
                self.assertEqual(answer.status, 400)
                self.assertEqual(error_of(answer)["code"], "invalid_reference")
        self.assertEqual(self.sending.calls, [])
