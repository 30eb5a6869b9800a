"""Questions about the organisation's topics are answered from its documents."""

from __future__ import annotations

import json
import subprocess
from contextlib import ExitStack

from .processes import TOKEN, Daemon, Sandbox


def sent_up(sandbox: Sandbox, role: str = "azure") -> dict[str, object]:
    """The chat as the upstream saw it, the question's embedding left aside."""
    (seen,) = [seen for seen in sandbox.requests(role) if "chat/completions" in str(seen["target"])]
    return json.loads(str(seen["body"]))


def test_docs_add_reports_what_it_did(docs_added: subprocess.CompletedProcess[str]) -> None:
    assert "2 documents added" in docs_added.stdout
    assert "2/2 documents" in docs_added.stderr


def test_a_chat_about_a_topic_goes_up_with_prompt_preamble_and_the_nearest_passage(
    daemon: Daemon, sandbox: Sandbox
) -> None:
    question = {"role": "user", "content": "How do I open a socket in FibJS?"}
    raw = daemon.client().chat.completions.with_raw_response.create(
        model="gpt-4", messages=[question], temperature=0.25
    )
    assert int(raw.headers["x-gptproxy-passages"]) >= 1
    body = sent_up(sandbox)
    messages = body["messages"]
    assert messages[-1] == question
    assert {message["role"] for message in messages[:-1]} == {"system"}
    assert messages[0]["content"].startswith("You are a fibjs development assistant.")
    assert messages[1]["content"] == "The built-in modules of fibjs are net, timers and fs."
    assert "net module opens sockets" in messages[2]["content"]
    assert body["temperature"] == 0.25


def test_the_first_message_decides_too_and_the_operator_s_block_stays_in_front(
    daemon: Daemon, sandbox: Sandbox
) -> None:
    messages = [
        {"role": "developer", "content": "We use fibjs here."},
        {"role": "user", "content": "What runs a callback later?"},
    ]
    daemon.client().chat.completions.create(model="gpt-4o", messages=messages)
    seen = sent_up(sandbox, "openai")["messages"]
    assert seen[0] == messages[0]
    assert seen[-1] == messages[-1]
    assert {message["role"] for message in seen[1:-1]} == {"developer"}


def test_another_chat_goes_up_byte_for_byte(daemon: Daemon, sandbox: Sandbox) -> None:
    body = b'{ "model":"gpt-4" ,\n "messages":[{"role":"user","content":"otters"}] , "n":1 }'
    raw = daemon.client().post("/chat/completions", content=body, cast_to=object)
    assert raw is not None
    (seen,) = sandbox.requests("azure")
    assert str(seen["body"]).encode() == body


def test_without_embeddings_the_chat_goes_up_and_the_header_says_so(
    daemon: Daemon, sandbox: Sandbox
) -> None:
    sandbox.faults(
        {"role": "azure", "fault": "quota_exhausted", "times": None, "route": "/embeddings"}
    )
    raw = daemon.client().chat.completions.with_raw_response.create(
        model="gpt-4", messages=[{"role": "user", "content": "What is fibjs?"}]
    )
    assert raw.headers["x-gptproxy-passages"] == "unavailable"
    assert raw.parse().choices[0].message.content


def test_many_who_ask_at_the_same_moment_all_get_documents(daemon: Daemon) -> None:
    body = json.dumps(
        {"model": "gpt-4", "messages": [{"role": "user", "content": "What are fibjs sockets?"}]}
    )
    request = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {TOKEN}\r\n"
        f"Connection: close\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    )
    with ExitStack() as stack:
        callers = [stack.enter_context(daemon.connection()) for _ in range(150)]
        for caller in callers:
            caller.sendall(request.encode())
        answers = [stack.enter_context(caller.makefile("rb")).read() for caller in callers]
    told = {
        line for answer in answers for line in answer.lower().split(b"\r\n") if b"passages" in line
    }
    assert told == {b"x-gptproxy-passages: 1"}
