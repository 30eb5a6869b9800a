"""What the stand-ins keep: files, stored responses, conversations, vector stores, batches and their like.

Under one key everybody's objects stand on one shelf, as they do at the makers. Shapes: the API
reference's objects, as far as clients read them.

Pure: imports nothing of Twisted.
"""

from __future__ import annotations

from contextlib import suppress

from gptproxy.sandbox.azure_site import KEYS, azure_json
from gptproxy.sandbox.messages import (
    Call,
    JsonObject,
    Refusal,
    Reply,
    identifier,
    read_json,
)
from gptproxy.sandbox.openai_site import KEY, openai_headers, openai_json
from gptproxy.sandbox.operations import form_parts, uploaded

__all__ = ["Shelf"]

_PREFIXES = {
    "assistants": ("asst_", "assistant"),
    "batches": ("batch_", "batch"),
    "containers": ("cntr_", "container"),
    "conversations": ("conv_", "conversation"),
    "evals": ("eval_", "eval"),
    "files": ("file-", "file"),
    "threads": ("thread_", "thread"),
    "uploads": ("upload_", "upload"),
    "vector_stores": ("vs_", "vector_store"),
}
_LISTED = (
    "assistants",
    "batches",
    "chat/completions",
    "containers",
    "evals",
    "files",
    "vector_stores",
)
_MOST = 1000  # of one kind; enough for any one test


class Shelf:
    """The objects of one sandbox, by role and kind, in the order they came."""

    def __init__(self) -> None:
        self._kinds: dict[tuple[str, str], dict[str, JsonObject]] = {}
        self._contents: dict[str, bytes] = {}

    def clear(self) -> None:
        """Forget all."""
        self._kinds.clear()
        self._contents.clear()

    def answer(self, call: Call) -> Reply | None:
        """
        :param call: what was asked.
        :return: the answer; None where the call is about nothing that is kept.
        """
        route = _route(call)
        kind = "chat/completions" if route[:2] == ("chat", "completions") else "".join(route[:1])
        rest = route[2 if "/" in kind else 1 :]
        if call.method == "POST" and not rest and kind in ("chat/completions", "responses"):
            self._note(call, kind)
            return None
        heard = route[-2:] in (("audio", "transcriptions"), ("audio", "translations"))
        if not heard and kind not in _PREFIXES and kind not in ("chat/completions", "responses"):
            return None
        if not _knows(call):
            return None
        as_json = openai_json if call.role == "openai" else azure_json
        try:
            if heard:
                return as_json(call, _heard(call))
            if call.method == "GET" and len(rest) == 2 and rest[1] == "content":
                self._one(call, kind, rest[0])
                return Reply(
                    200,
                    openai_headers(call, "application/octet-stream"),
                    self._contents.get(rest[0], b""),
                )
            return as_json(call, self._operation(call, kind, rest))
        except Refusal as refusal:
            return as_json(call, refusal.body(), refusal.status)

    def _operation(self, call: Call, kind: str, rest: tuple[str, ...]) -> JsonObject:
        if not rest:
            if call.method == "POST":
                return self._create(call, kind)
            if call.method == "GET" and kind in _LISTED:
                return self._listed(call, kind)
            raise Refusal(404, f"Invalid URL ({call.method} {call.path})")
        found = self._one(call, kind, rest[0])
        if len(rest) > 1:
            return self._below(call, kind, found, rest[1:])
        if call.method == "DELETE":
            del self._of(call, kind)[rest[0]]
            return {"id": rest[0], "object": f"{found.get('object')}.deleted", "deleted": True}
        if call.method == "POST":
            found |= read_json(call.body)
        return found

    def _create(self, call: Call, kind: str) -> JsonObject:
        prefix, name = _PREFIXES[kind]
        if kind == "files":
            made = uploaded(call)
            self._contents[str(made["id"])] = form_parts(call)["file"][1]
        else:
            said = read_json(call.body) if call.body else {}
            made = {
                "id": f"{prefix}{identifier(call, name)}",
                "object": name,
                "created_at": int(call.now),
                "status": "completed",
                **said,
            }
        if kind == "batches":
            # What the maker makes for whoever asked.
            output: JsonObject = {"id": f"file-{identifier(call, 'output')}", "object": "file"}
            self._of(call, "files")[str(output["id"])] = output
            self._contents[str(output["id"])] = b'{"custom_id": "1"}\n'
            made["output_file_id"] = output["id"]
        self._keep(call, kind, made)
        return made

    def _listed(self, call: Call, kind: str) -> JsonObject:
        objects = list(self._of(call, kind).values())[::-1]
        after = call.query.get("after", ("",))[0]
        if after:
            places = [place for place, each in enumerate(objects) if each["id"] == after]
            objects = objects[places[0] + 1 :] if places else []
        limit = int(call.query.get("limit", ("20",))[0])
        page = objects[:limit]
        return {
            "object": "list",
            "data": page,
            "first_id": page[0]["id"] if page else None,
            "last_id": page[-1]["id"] if page else None,
            "has_more": len(objects) > limit,
        }

    def _below(self, call: Call, kind: str, found: JsonObject, rest: tuple[str, ...]) -> JsonObject:
        if kind == "uploads" and rest == ("parts",):
            part = identifier(call, "part")
            return {"id": f"part_{part}", "object": "upload.part", "upload_id": found["id"]}
        if kind == "uploads" and rest == ("complete",):
            made: JsonObject = {"id": f"file-{identifier(call, 'whole')}", "object": "file"}
            self._keep(call, "files", made)
            return {**found, "status": "completed", "file": made}
        if rest == ("cancel",):
            found["status"] = "cancelled"
            return found
        if kind == "vector_stores" and rest == ("files",) and call.method == "POST":
            name = str(read_json(call.body).get("file_id"))
            self._one(call, "files", name)
            return {"id": name, "object": "vector_store.file", "vector_store_id": found["id"]}
        if rest in (("input_items",), ("items",), ("messages",), ("files",)):
            return {"object": "list", "data": [], "has_more": False}
        raise Refusal(404, f"Invalid URL ({call.method} {call.path})")

    def _note(self, call: Call, kind: str) -> None:
        """Keep what an answer will have, if it is to be stored."""
        with suppress(Refusal):  # of bad JSON, which the site refuses in its own form
            said = read_json(call.body)
            if said.get("store", kind == "responses") and _knows(call):
                prefix, name = ("chatcmpl-", "chat.completion")
                if kind == "responses":
                    prefix, name = ("resp_", "response")
                ident = f"{prefix}{identifier(call, 'completion')}"
                self._keep(call, kind, {"id": ident, "object": name, "status": "completed"})

    def _keep(self, call: Call, kind: str, made: JsonObject) -> None:
        objects = self._of(call, kind)
        objects[str(made["id"])] = made
        while len(objects) > _MOST:
            del objects[next(iter(objects))]

    def _one(self, call: Call, kind: str, name: str) -> JsonObject:
        found = self._of(call, kind).get(name)
        if found is None:
            raise Refusal(404, f"No such object: {name}", param="id")
        return found

    def _of(self, call: Call, kind: str) -> dict[str, JsonObject]:
        return self._kinds.setdefault((call.role, kind), {})


def _route(call: Call) -> tuple[str, ...]:
    parts = call.segments
    for base in (("v1",), ("openai", "v1"), ("openai",)):
        if parts[: len(base)] == base:
            return parts[len(base) :]
    return ()


def _knows(call: Call) -> bool:
    """:return: the call has the key; without it the site says what is wrong."""
    if call.role == "openai":
        return call.bearer() == KEY
    return KEYS.get(call.role) in (call.header("api-key"), call.bearer())


def _heard(call: Call) -> JsonObject:
    parts = form_parts(call)
    model = parts.get("model", ("", b""))[1].decode("utf-8", "replace")
    if "deployments" in call.segments:
        model = call.segments[call.segments.index("deployments") + 1]
    if not model:
        raise Refusal(400, "you must provide a model parameter")
    if "file" not in parts:
        raise Refusal(400, "Missing required parameter: 'file'.", param="file")
    return {"text": f"{model} heard {len(parts['file'][1])} bytes."}
