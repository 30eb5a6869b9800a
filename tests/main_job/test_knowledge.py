"""Questions about the organisation's topics are answered from its documents."""

from __future__ import annotations

import json
import subprocess
from contextlib import ExitStack

import openai
import pytest

from .processes import TOKEN, Daemon, Sandbox, until


def sent_up(sandbox: Sandbox, role: str = "azure") -> dict[str, object]:
    """The chat as the upstream saw it, the question's embedding left aside."""
    (seen,) = [seen for seen in sandbox.requests(role) if "chat/completions" in str(seen["target"])]
    return json.loads(str(seen["body"]))


def test_docs_add_reports_what_it_did(docs_added: subprocess.CompletedProcess[str]) -> None:
    assert "2 documents added" in docs_added.stdout
    assert "2/2" in docs_added.stderr


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


def test_without_embeddings_words_find_the_passage(daemon: Daemon, sandbox: Sandbox) -> None:
    sandbox.faults(
        {"role": "azure", "fault": "quota_exhausted", "times": None, "route": "/embeddings"}
    )
    raw = daemon.client().chat.completions.with_raw_response.create(
        model="gpt-4", messages=[{"role": "user", "content": "What does fibjs do with sockets?"}]
    )
    assert int(raw.headers["x-gptproxy-passages"]) >= 1
    assert raw.headers["x-gptproxy-sources"] == "documents/fibjs.md"
    assert raw.parse().choices[0].message.content
    until(lambda: "searched by words alone" in daemon.log())


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


def test_responses_get_documents_in_their_instructions(daemon: Daemon, sandbox: Sandbox) -> None:
    raw = daemon.client().responses.with_raw_response.create(
        model="gpt-4o", input="How do I open a socket in FibJS?", instructions="Be brief."
    )
    assert raw.headers["x-gptproxy-sources"] == "documents/fibjs.md"
    (seen,) = [one for one in sandbox.requests("openai") if "/responses" in str(one["target"])]
    body = json.loads(str(seen["body"]))
    assert body["instructions"].startswith("Be brief.\n\nYou are a fibjs development assistant.")
    assert "net module opens sockets" in body["instructions"]
    assert body["input"] == "How do I open a socket in FibJS?"


def test_the_header_names_the_topic(daemon: Daemon, sandbox: Sandbox) -> None:
    client = daemon.client(default_headers={"x-gptproxy-topic": "fibjs"})
    raw = client.chat.completions.with_raw_response.create(
        model="gpt-4", messages=[{"role": "user", "content": "What runs a callback later?"}]
    )
    assert int(raw.headers["x-gptproxy-passages"]) >= 1
    other = daemon.client(default_headers={"x-gptproxy-topic": "nothing"})
    with pytest.raises(openai.NotFoundError):
        other.chat.completions.create(model="gpt-4", messages=[{"role": "user", "content": "x"}])


def test_a_stream_ends_with_the_sources_where_the_topic_cites(daemon: Daemon) -> None:
    question = {"role": "user", "content": "cited: how do fibjs timers work?"}
    stream = daemon.client().chat.completions.create(
        model="gpt-4", messages=[question], stream=True
    )
    chunks = list(stream)
    said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert "\n\nSources:\n[1] documents/fibjs.md" in said
    assert [one.choices[0].finish_reason for one in chunks if one.choices][-1] == "stop"
    whole = daemon.client().chat.completions.create(model="gpt-4", messages=[question])
    assert "\n\nSources:\n[1] documents/fibjs.md" in str(whole.choices[0].message.content)
