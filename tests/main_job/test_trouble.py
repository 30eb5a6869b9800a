"""What callers and upstreams see when something is wrong."""

from __future__ import annotations

import json
import socket

import openai
import pytest

from .processes import TOKEN, Daemon, Sandbox, until

MESSAGES = [{"role": "user", "content": "Tell me about otters."}]


def exchange(daemon: Daemon, request: bytes) -> tuple[int, dict[str, str], bytes]:
    """Send bytes over TLS; read one answer with a length."""
    with daemon.connection() as connection, connection.makefile("rb") as answers:
        connection.sendall(request)
        status = int(answers.readline().split()[1])
        headers = {}
        while line := answers.readline().strip():
            name, _, value = line.decode().partition(":")
            headers[name.lower()] = value.strip()
        return status, headers, answers.read(int(headers["content-length"]))


def post(body: bytes, path: str = "/v1/chat/completions", *headers: str) -> bytes:
    """A POST with a good token."""
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: gateway",
        f"Authorization: Bearer {TOKEN}",
        f"Content-Length: {len(body)}",
        *headers,
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


def assert_openai_error(
    answer: tuple[int, dict[str, str], bytes], status: int
) -> dict[str, object]:
    """The answer is OpenAI's error form with all that goes with it."""
    assert answer[0] == status
    assert answer[1]["content-type"] == "application/json"
    assert answer[1]["x-gptproxy-request-id"]
    error = json.loads(answer[2])["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error


@pytest.mark.parametrize("token", ["glpat-sandbox-nobody", "sk-user1-012345678", "x"])
def test_an_unknown_token_is_401_in_openai_s_form(daemon: Daemon, token: str) -> None:
    with pytest.raises(openai.AuthenticationError) as caught:
        daemon.client(token).models.list()
    assert caught.value.code == "invalid_api_key"
    assert caught.value.response.headers["www-authenticate"] == "Bearer"


def test_a_request_without_a_token_is_401(daemon: Daemon, sandbox: Sandbox) -> None:
    answer = exchange(daemon, b"GET /v1/models HTTP/1.1\r\nHost: gateway\r\n\r\n")
    assert_openai_error(answer, 401)
    assert sandbox.requests("openai") + sandbox.requests("azure") == []


def test_haigpt_s_spelling_of_the_authorization_header_works(daemon: Daemon) -> None:
    request = b"GET /v1/models HTTP/1.1\r\nHost: gateway\r\nAuthentication: Bearer %b\r\n\r\n"
    assert exchange(daemon, request % TOKEN.encode())[0] == 200


def test_broken_json_is_400_with_the_position(daemon: Daemon) -> None:
    error = assert_openai_error(exchange(daemon, post(b'{"model": "gpt-4",\n oops}')), 400)
    assert "line 2, column 2" in error["message"]


def test_a_body_over_the_cap_is_413_before_it_is_read(daemon: Daemon) -> None:
    request = post(b"")[: -len("Content-Length: 0\r\n\r\n")] + b"Content-Length: 1048577\r\n\r\n"
    assert_openai_error(exchange(daemon, request), 413)


def test_a_chunked_body_over_the_cap_is_413(daemon: Daemon) -> None:
    head = post(b"")[: -len("Content-Length: 0\r\n\r\n")] + b"Transfer-Encoding: chunked\r\n\r\n"
    chunk = b"%x\r\n%b\r\n" % (1 << 20, b" " * (1 << 20))
    assert_openai_error(exchange(daemon, head + chunk + b"1\r\n \r\n0\r\n\r\n"), 413)


def test_a_model_that_no_upstream_has_is_404_and_names_those_there_are(daemon: Daemon) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        daemon.client().chat.completions.create(model="gpt-17", messages=MESSAGES)
    assert caught.value.code == "model_not_found"
    assert "gpt-4o" in caught.value.message


@pytest.mark.parametrize("path", ["/v1/nonsense", "/", "/v1/chat", "/v1/chat/completions/x/y"])
def test_an_unknown_route_is_404_in_openai_s_form(daemon: Daemon, path: str) -> None:
    assert_openai_error(exchange(daemon, post(b"{}", path)), 404)


def test_bytes_that_are_no_http_are_400_in_openai_s_form(daemon: Daemon) -> None:
    assert_openai_error(exchange(daemon, b"GET http://elsewhere/ HTTP/1.1\r\nHost: a\r\n\r\n"), 400)


def test_headers_over_64_kib_are_431(daemon: Daemon) -> None:
    assert_openai_error(exchange(daemon, post(b"", "/v1/models", "X-Long: " + "a" * 65536)), 431)


def test_continue_is_sent_to_callers_who_may_come_in_and_to_nobody_else(daemon: Daemon) -> None:
    body = json.dumps({"model": "gpt-4", "messages": MESSAGES}).encode()
    request = post(body, "/v1/chat/completions", "Expect: 100-continue")
    head, empty, body = request.partition(b"\r\n\r\n")
    with daemon.connection() as connection, connection.makefile("rb") as answers:
        connection.sendall(head + empty)
        assert answers.readline() == b"HTTP/1.1 100 Continue\r\n"
        assert answers.readline() == b"\r\n"
        connection.sendall(body)
        assert answers.readline() == b"HTTP/1.1 200 OK\r\n"
    stranger = head.replace(TOKEN.encode(), b"nobody") + empty
    assert_openai_error(exchange(daemon, stranger), 401)


@pytest.mark.parametrize("fault", ["status_429", "status_500", "status_503", "reset_before_head"])
def test_trouble_that_passes_is_not_the_caller_s(
    daemon: Daemon, sandbox: Sandbox, fault: str
) -> None:
    sandbox.faults({"role": "openai", "fault": fault, "times": 1, "retry_after": None})
    client = daemon.client(max_retries=0)
    assert client.chat.completions.create(model="gpt-4o", messages=MESSAGES).choices
    assert len(sandbox.requests("openai")) == 2


def test_the_content_filter_s_interception_is_answered_by_the_secondary(
    daemon: Daemon, sandbox: Sandbox
) -> None:
    sandbox.faults({"role": "azure", "fault": "content_filter", "times": None})
    raw = daemon.client().chat.completions.with_raw_response.create(
        model="gpt-4", messages=MESSAGES
    )
    assert raw.headers["x-gptproxy-upstream"] == "secondary"
    assert len(sandbox.requests("azure")) == 1


def test_when_both_intercept_the_caller_gets_the_first_one_s_words(
    daemon: Daemon, sandbox: Sandbox
) -> None:
    sandbox.faults(
        {"role": "azure", "fault": "content_filter", "times": None},
        {"role": "azure_secondary", "fault": "content_filter", "times": None},
    )
    with pytest.raises(openai.BadRequestError) as caught:
        daemon.client().chat.completions.create(model="gpt-4", messages=MESSAGES)
    assert caught.value.code == "content_filter"
    assert caught.value.response.headers["x-gptproxy-upstream"] == "primary"
    assert caught.value.response.headers["x-should-retry"] == "false"


def test_another_400_is_the_caller_s_own_and_goes_nowhere_else(
    daemon: Daemon, sandbox: Sandbox
) -> None:
    with pytest.raises(openai.BadRequestError):
        daemon.client().chat.completions.create(model="gpt-4", messages="not a list")
    assert sandbox.requests("azure_secondary") == []


def test_refused_keys_of_the_organisation_are_502_and_no_fault_of_the_caller_s(
    daemon: Daemon, sandbox: Sandbox
) -> None:
    sandbox.faults({"role": "openai", "fault": "status_401", "times": None})
    with pytest.raises(openai.InternalServerError) as caught:
        daemon.client(max_retries=0).chat.completions.create(model="gpt-4o", messages=MESSAGES)
    assert caught.value.status_code == 502
    assert "sk-" not in caught.value.message


def test_lasting_trouble_ends_with_the_upstream_s_error_and_tells_the_client_to_stop(
    daemon: Daemon, sandbox: Sandbox
) -> None:
    sandbox.faults({"role": "openai", "fault": "status_500", "times": None})
    with pytest.raises(openai.InternalServerError) as caught:
        daemon.client().chat.completions.create(model="gpt-4o", messages=MESSAGES)
    # Three attempts of ours, and none of the client's own two retries on top.
    assert len(sandbox.requests("openai")) == 3
    assert caught.value.response.headers["x-gptproxy-attempts"] == "3"


def test_gitlab_s_trouble_is_503_and_never_401(daemon: Daemon, sandbox: Sandbox) -> None:
    sandbox.faults({"role": "gitlab", "fault": "status_500", "times": None})
    with pytest.raises(openai.InternalServerError) as caught:
        daemon.client("glpat-sandbox-not-seen-yet", max_retries=0).models.list()
    assert caught.value.status_code == 503
    assert caught.value.response.headers["retry-after"]


def test_a_stream_that_its_upstream_cuts_is_an_error_and_never_a_clean_end(
    daemon: Daemon, sandbox: Sandbox
) -> None:
    sandbox.faults({"role": "openai", "fault": "cut_stream", "times": 1, "after_events": 3})
    stream = daemon.client().chat.completions.create(model="gpt-4o", messages=MESSAGES, stream=True)
    with pytest.raises(openai.APIError):
        list(stream)


@pytest.mark.parametrize("fault", ["hang", "hang_after_events"])
def test_a_caller_who_leaves_takes_the_upstream_s_call_along(
    daemon: Daemon, sandbox: Sandbox, fault: str
) -> None:
    sandbox.faults({"role": "openai", "fault": fault, "times": 1, "after_events": 2})
    body = json.dumps({"model": "gpt-4o", "messages": MESSAGES, "stream": True}).encode()
    with daemon.connection() as connection:
        connection.sendall(post(body))
        if fault == "hang_after_events":
            assert connection.recv(1)
        until(lambda: sandbox.requests("openai"))
    until(lambda: sandbox.state("openai")["left_early"] == 1)


def test_a_caller_who_does_not_read_holds_the_upstream_back(
    daemon: Daemon, sandbox: Sandbox
) -> None:
    sandbox.faults({"role": "openai", "fault": "huge_stream", "times": 1, "megabytes": 200})
    body = json.dumps({"model": "gpt-4o", "messages": MESSAGES, "stream": True}).encode()
    with daemon.connection() as connection:
        # Before TLS took the socket over it had the kernel's default buffer; a small one fills sooner.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        connection.sendall(post(body))
        assert connection.recv(1)
        written, before = sandbox.state("openai")["bytes_written"], -1
        while written != before:
            # Twice the same: nothing moves any more. Each look is a request of its own, so time passes.
            for _ in range(20):
                before, written = written, sandbox.state("openai")["bytes_written"]
        # Kernel buffers on both legs and 64 KiB of Twisted's on each; the stream itself is 200 MiB.
        assert written < 32 * 1024 * 1024
