"""Stored objects through the gateway: two callers under one key, each seeing their own only."""

from __future__ import annotations

import json
import ssl

import openai
import pytest

from .processes import TOKEN, Daemon, Sandbox

USER_TOKEN = "sk-user1-0123456789"


@pytest.fixture
def alice(daemon: Daemon) -> openai.OpenAI:
    return daemon.client()


@pytest.fixture
def bob(daemon: Daemon) -> openai.OpenAI:
    return daemon.client(USER_TOKEN)


def test_files_are_their_makers_own(alice: openai.OpenAI, bob: openai.OpenAI) -> None:
    made = alice.files.create(file=("a.jsonl", b'{"a": 1}\n' * 20_000), purpose="batch")
    others = bob.files.create(file=("b.jsonl", b"{}\n"), purpose="batch")
    assert made.bytes == 180_000
    assert alice.files.content(made.id).read() == b'{"a": 1}\n' * 20_000
    assert [each.id for each in alice.files.list()] == [made.id]
    assert [each.id for each in bob.files.list()] == [others.id]
    for ask in (bob.files.retrieve, bob.files.content, bob.files.delete):
        with pytest.raises(openai.NotFoundError):
            ask(made.id)
    assert alice.files.delete(made.id).deleted
    assert list(alice.files.list()) == []
    with pytest.raises(openai.NotFoundError):
        alice.files.retrieve(made.id)
    bob.files.delete(others.id)


def test_what_a_body_names_must_be_the_callers(alice: openai.OpenAI, bob: openai.OpenAI) -> None:
    made = alice.files.create(file=("a.jsonl", b"{}\n"), purpose="batch")
    wanted = {"endpoint": "/v1/chat/completions", "completion_window": "24h"}
    with pytest.raises(openai.NotFoundError, match="No such object"):
        bob.batches.create(input_file_id=made.id, **wanted)
    batch = alice.batches.create(input_file_id=made.id, **wanted)
    assert batch.output_file_id
    # Made by the upstream for whoever made the batch.
    assert alice.files.content(batch.output_file_id).read() == b'{"custom_id": "1"}\n'
    with pytest.raises(openai.NotFoundError):
        bob.files.content(batch.output_file_id)
    assert [each.id for each in alice.batches.list()] == [batch.id]
    assert list(bob.batches.list()) == []
    with pytest.raises(openai.NotFoundError):
        bob.chat.completions.create(
            model="gpt-4",
            messages=[
                {"role": "user", "content": [{"type": "file", "file": {"file_id": made.id}}]}
            ],
        )


def test_lists_are_paged_over_other_peoples(alice: openai.OpenAI, bob: openai.OpenAI) -> None:
    mine = []
    for number in range(6):
        mine.append(alice.vector_stores.create(name=f"a{number}").id)
        bob.vector_stores.create(name=f"b{number}")
    page = alice.vector_stores.list(limit=4)
    assert [each.id for each in page.data] == mine[:1:-1]
    assert page.has_more
    assert [each.id for each in page] == mine[::-1]


@pytest.mark.parametrize("stream", [False, True])
def test_stored_responses(daemon: Daemon, stream: bool) -> None:
    """Recorded before the caller knows their id; a call that names one goes where it is."""
    alice, bob = daemon.client(), daemon.client(USER_TOKEN)
    answer = alice.responses.create(model="gpt-4o", input="Tell me about otters.", stream=stream)
    made = next(iter(answer)).response.id if stream else answer.id
    assert alice.responses.retrieve(made).id == made
    with pytest.raises(openai.NotFoundError):
        bob.responses.retrieve(made)
    with pytest.raises(openai.NotFoundError):
        bob.responses.create(model="gpt-4o", input="And?", previous_response_id=made)
    assert alice.responses.create(model="gpt-4o", input="And?", previous_response_id=made).id
    alice.responses.delete(made)
    with pytest.raises(openai.NotFoundError):
        alice.responses.retrieve(made)


def test_what_is_not_stored_is_nobodys(alice: openai.OpenAI) -> None:
    answer = alice.responses.create(model="gpt-4o", input="Tell me about otters.", store=False)
    with pytest.raises(openai.NotFoundError):
        alice.responses.retrieve(answer.id)


def test_an_upload_in_parts(alice: openai.OpenAI, bob: openai.OpenAI) -> None:
    upload = alice.uploads.create(
        bytes=6, filename="a.bin", mime_type="application/octet-stream", purpose="assistants"
    )
    part = alice.uploads.parts.create(upload.id, data=b"abcdef")
    with pytest.raises(openai.NotFoundError):
        bob.uploads.parts.create(upload.id, data=b"abcdef")
    whole = alice.uploads.complete(upload.id, part_ids=[part.id])
    assert alice.files.retrieve(whole.file.id).id == whole.file.id
    with pytest.raises(openai.NotFoundError):
        bob.files.retrieve(whole.file.id)


def test_a_transcription(daemon: Daemon, sandbox: Sandbox) -> None:
    """The model's name is inside the form; Azure's classic path has it outside."""
    heard = daemon.client().audio.transcriptions.create(
        model="whisper-1", file=("a.mp3", b"\x00" * 100_000)
    )
    assert heard.text == "whisper heard 100000 bytes."
    (seen,) = sandbox.requests("azure")
    assert seen["target"].startswith("/openai/deployments/whisper/audio/transcriptions?")


def test_a_transcription_without_a_known_model(daemon: Daemon) -> None:
    with pytest.raises(openai.NotFoundError) as error:
        daemon.client().audio.transcriptions.create(model="whisper-9", file=("a.mp3", b"-"))
    assert error.value.code == "model_not_found"


def test_azures_own_client(daemon: Daemon) -> None:
    """Pointed at the gateway: its paths, its credential, its api-version."""
    context = ssl.create_default_context(cafile=str(daemon.certificate))
    with openai.AzureOpenAI(
        azure_endpoint=f"https://127.0.0.1:{daemon.port}",
        api_key=TOKEN,
        api_version="2024-10-21",
        http_client=openai.DefaultHttpxClient(verify=context),
    ) as client:
        messages = [{"role": "user", "content": "Tell me about otters."}]
        for model in ("gpt-4", "gpt-4o"):
            answer = client.chat.completions.create(model=model, messages=messages)
            assert "otters" in answer.choices[0].message.content
        heard = client.audio.transcriptions.create(model="whisper-1", file=("a.mp3", b"-" * 10))
        assert heard.text == "whisper heard 10 bytes."
        made = client.files.create(file=("a.jsonl", b"{}\n"), purpose="batch")
        assert client.files.retrieve(made.id).id == made.id
        client.files.delete(made.id)
        assert client.responses.create(model="gpt-4o", input="Tell me about otters.").output_text


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("DELETE", "/models/gpt-4", 403, "access_denied"),
        ("DELETE", "/models/ft:gpt-4o:org::1", 404, None),
        ("GET", "/organization/users", 403, "access_denied"),
        ("POST", "/projects/p1/users", 403, "access_denied"),
        ("GET", "/realtime", 400, "not_offered"),
        ("GET", "/responses", 400, "not_offered"),
        ("GET", "/files/..%2Ffiles", 400, None),
        ("PUT", "/files", 405, "method_not_allowed"),
        ("GET", "/nothing", 404, "unknown_url"),
    ],
)
def test_refused_routes(
    daemon: Daemon, sandbox: Sandbox, method: str, path: str, status: int, code: str | None
) -> None:
    answer = daemon.client()._client.request(
        method, daemon.base_url + path, headers={"authorization": f"Bearer {TOKEN}"}
    )
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert sandbox.requests("openai") == sandbox.requests("azure") == []


def test_evaluations_of_everybodys_records_are_refused(alice: openai.OpenAI) -> None:
    body = {"data_source_config": {"type": "stored_completions"}, "testing_criteria": []}
    with pytest.raises(openai.PermissionDeniedError):
        alice.post("/evals", body=body, cast_to=object)


def test_items_of_a_stream(daemon: Daemon) -> None:
    """They may be named in the next call, with and without a type, by who made them."""
    alice, bob = daemon.client(), daemon.client(USER_TOKEN)
    events = list(
        alice.responses.create(model="gpt-4o", input="Tell me about otters.", stream=True)
    )
    item = next(each.item.id for each in events if each.type == "response.output_item.added")
    for reference in ({"id": item}, {"type": "item_reference", "id": item}):
        again = [reference, {"role": "user", "content": "And beavers?"}]
        assert alice.responses.create(model="gpt-4o", input=again).id
        with pytest.raises(openai.NotFoundError):
            bob.responses.create(model="gpt-4o", input=again)


def test_a_batchs_lines(alice: openai.OpenAI, bob: openai.OpenAI) -> None:
    """They are calls under the organisation's key: what they name must be the caller's own."""
    made = alice.responses.create(model="gpt-4o", input="Tell me about otters.")
    body = {"model": "gpt-4o", "input": "And?", "previous_response_id": made.id}
    line = json.dumps({"custom_id": "1", "method": "POST", "url": "/v1/responses", "body": body})
    wanted = {"endpoint": "/v1/responses", "completion_window": "24h"}
    for client in (alice, bob):
        file = client.files.create(file=("b.jsonl", line.encode()), purpose="batch")
        if client is alice:
            with pytest.raises(openai.BadRequestError, match="different servers"):
                client.batches.create(input_file_id=file.id, **wanted)
        else:
            with pytest.raises(openai.NotFoundError, match="No such object"):
                client.batches.create(input_file_id=file.id, **wanted)
        client.files.delete(file.id)
