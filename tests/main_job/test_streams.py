"""
What the official client sees of streams that go wrong: one answer or one exception, of the right class, every time.
"""

from __future__ import annotations

import json

import openai
import pytest

from .processes import TOKEN, Daemon, Sandbox

MESSAGES = [{"role": "user", "content": "Tell me about otters."}]
ROLES = {"gpt-4": "azure", "gpt-4o": "openai"}


def streamed(daemon: Daemon, model: str = "gpt-4", **options: object) -> tuple[str, str, list]:
    """:return: who answered, the text, and the chunks."""
    raw = daemon.client(max_retries=0).chat.completions.with_raw_response.create(
        model=model, messages=MESSAGES, stream=True, **options
    )
    chunks = list(raw.parse())
    text = "".join(
        choice.delta.content or "" for chunk in chunks for choice in chunk.choices if choice.delta
    )
    return raw.headers["x-gptproxy-upstream"], text, chunks


def finish(chunks: list) -> str | None:
    """:return: the last finish_reason."""
    said = [choice.finish_reason for chunk in chunks for choice in chunk.choices]
    return next((reason for reason in reversed(said) if reason), None)


def fault(role: str, name: str, **more: object) -> dict[str, object]:
    return {"role": role, "fault": name, "times": None, **more}


class TestBeforeContent:
    """Nothing has been said, so another upstream may say it."""

    def test_a_stream_that_the_filter_takes_is_the_secondary_s_alone(
        self, daemon: Daemon, sandbox: Sandbox
    ) -> None:
        sandbox.faults(fault("azure", "filtered_stream", after_events=0))
        upstream, text, chunks = streamed(daemon)
        assert (upstream, finish(chunks)) == ("secondary", "stop")
        assert "otters" in text
        # Azure's first chunk comes once.
        assert sum(not chunk.choices for chunk in chunks) == 1
        assert len(sandbox.requests("azure")) == len(sandbox.requests("azure_secondary")) == 1

    def test_so_is_an_answer_that_is_no_stream(self, daemon: Daemon, sandbox: Sandbox) -> None:
        sandbox.faults(fault("azure", "filtered_output"))
        raw = daemon.client().chat.completions.with_raw_response.create(
            model="gpt-4", messages=MESSAGES
        )
        assert raw.headers["x-gptproxy-upstream"] == "secondary"
        assert raw.parse().choices[0].finish_reason == "stop"

    def test_when_both_intercept_the_caller_gets_the_first_one_s_stream(
        self, daemon: Daemon, sandbox: Sandbox
    ) -> None:
        for role in ("azure", "azure_secondary"):
            sandbox.faults(fault(role, "filtered_stream", after_events=0))
        upstream, text, chunks = streamed(daemon)
        assert (upstream, text, finish(chunks)) == ("primary", "", "content_filter")

    @pytest.mark.parametrize("name", ["error_event_in_stream", "cut_stream"])
    def test_a_stream_that_fails_is_asked_for_again(
        self, daemon: Daemon, sandbox: Sandbox, name: str
    ) -> None:
        sandbox.faults({"role": "openai", "fault": name, "times": 1, "after_events": 1})
        upstream, text, chunks = streamed(daemon, "gpt-4o")
        assert (upstream, finish(chunks)) == ("openai", "stop")
        assert "otters" in text
        assert len(sandbox.requests("openai")) == 2

    def test_a_used_up_quota_goes_to_the_secondary(self, daemon: Daemon, sandbox: Sandbox) -> None:
        error = {"code": "insufficient_quota", "message": "no more"}
        sandbox.faults(fault("azure", "error_event_in_stream", after_events=1, body=error))
        assert streamed(daemon)[0] == "secondary"
        assert len(sandbox.requests("azure")) == 1

    def test_the_caller_s_own_fault_is_told_at_once(self, daemon: Daemon, sandbox: Sandbox) -> None:
        error = {"code": "context_length_exceeded", "message": "too long", "type": None}
        sandbox.faults(fault("azure", "error_event_in_stream", after_events=1, body=error))
        with pytest.raises(openai.APIError, match="too long"):
            streamed(daemon)
        assert len(sandbox.requests("azure")) == 1
        assert sandbox.requests("azure_secondary") == []

    def test_lasting_trouble_is_one_error(self, daemon: Daemon, sandbox: Sandbox) -> None:
        sandbox.faults(fault("openai", "cut_stream", after_events=1))
        with pytest.raises(openai.InternalServerError) as caught:
            streamed(daemon, "gpt-4o")
        assert caught.value.status_code == 502

    @pytest.mark.parametrize("size", [1, 7])
    def test_bytes_that_come_one_by_one_make_no_difference(
        self, daemon: Daemon, sandbox: Sandbox, size: int
    ) -> None:
        plain = streamed(daemon)
        sandbox.faults(fault("azure", "split_bytes", size=size))
        split = streamed(daemon)
        assert split[:2] == plain[:2]
        assert len(split[2]) == len(plain[2])


class TestBehindContent:
    """The caller has read something, so it stays with who said it."""

    @pytest.mark.parametrize("name", ["filtered_stream", "async_filter_stream"])
    def test_the_filter_s_word_is_the_last(
        self, daemon: Daemon, sandbox: Sandbox, name: str
    ) -> None:
        sandbox.faults(fault("azure", name, after_events=2))
        upstream, text, chunks = streamed(daemon)
        assert (upstream, finish(chunks)) == ("primary", "content_filter")
        assert text
        assert sandbox.requests("azure_secondary") == []

    @pytest.mark.parametrize("name", ["content_filter_error_200", "async_filter_stream"])
    def test_no_interception_is_taken_for_one(
        self, daemon: Daemon, sandbox: Sandbox, name: str
    ) -> None:
        sandbox.faults(fault("azure", name, filtered=False))
        upstream, text, chunks = streamed(daemon)
        assert (upstream, finish(chunks)) == ("primary", "stop")
        assert "otters" in text

    @pytest.mark.parametrize("model", list(ROLES))
    @pytest.mark.parametrize("name", ["cut_stream", "error_event_in_stream"])
    def test_a_stream_that_dies_raises(
        self, daemon: Daemon, sandbox: Sandbox, model: str, name: str
    ) -> None:
        sandbox.faults(fault(ROLES[model], name, after_events=4))
        with pytest.raises(openai.APIError):
            streamed(daemon, model)
        assert len(sandbox.requests(ROLES[model])) == 1


class TestResponses:
    """The same of the Responses API."""

    def text(self, daemon: Daemon, model: str) -> str:
        stream = daemon.client(max_retries=0).responses.create(
            model=model, input="Tell me about otters.", stream=True, store=False
        )
        events = list(stream)
        assert events[0].type == "response.created"
        self.last = events[-1]
        return "".join(
            event.delta for event in events if event.type == "response.output_text.delta"
        )

    @pytest.mark.parametrize("model", list(ROLES))
    def test_it_streams(self, daemon: Daemon, model: str) -> None:
        assert "otters" in self.text(daemon, model)
        assert self.last.type == "response.completed"

    def test_filtered_before_content_it_is_the_secondary_s(
        self, daemon: Daemon, sandbox: Sandbox
    ) -> None:
        sandbox.faults(fault("azure", "filtered_stream", after_events=0))
        assert "otters" in self.text(daemon, "gpt-4")
        assert self.last.type == "response.completed"
        assert len(sandbox.requests("azure_secondary")) == 1

    def test_filtered_behind_content_it_is_incomplete(
        self, daemon: Daemon, sandbox: Sandbox
    ) -> None:
        sandbox.faults(fault("azure", "filtered_stream", after_events=2))
        assert self.text(daemon, "gpt-4")
        assert self.last.type == "response.incomplete"
        assert sandbox.requests("azure_secondary") == []

    @pytest.mark.parametrize("name", ["response_failed", "error_event_in_stream", "cut_stream"])
    def test_failed_before_content_it_is_asked_for_again(
        self, daemon: Daemon, sandbox: Sandbox, name: str
    ) -> None:
        after = 0 if name == "response_failed" else 3
        sandbox.faults({"role": "openai", "fault": name, "times": 1, "after_events": after})
        assert "otters" in self.text(daemon, "gpt-4o")
        assert len(sandbox.requests("openai")) == 2

    def test_cut_behind_content_it_raises(self, daemon: Daemon, sandbox: Sandbox) -> None:
        sandbox.faults(fault("openai", "cut_stream", after_events=6))
        with pytest.raises(openai.APIError):
            self.text(daemon, "gpt-4o")
        assert len(sandbox.requests("openai")) == 1


class TestSilence:
    """Comments fill it, and nobody who reads events sees them."""

    def test_slow_events_arrive_as_they_are(self, daemon: Daemon, sandbox: Sandbox) -> None:
        sandbox.faults(fault("azure", "slow_events", delay_seconds=0.4))
        upstream, text, chunks = streamed(daemon, max_tokens=3)
        assert upstream == "primary"
        assert text
        assert finish(chunks) == "length"

    def test_a_stream_without_content_is_relayed_in_the_end_and_kept_alive(
        self, daemon: Daemon, sandbox: Sandbox
    ) -> None:
        sandbox.faults({"role": "azure", "fault": "hang_after_events", "after_events": 2})
        body = json.dumps({"model": "gpt-4", "messages": MESSAGES, "stream": True}).encode()
        head = (
            "POST /v1/chat/completions HTTP/1.1\r\nHost: gateway\r\n"
            f"Authorization: Bearer {TOKEN}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        with daemon.connection() as connection, connection.makefile("rb") as answer:
            connection.sendall(head.encode() + body)
            assert answer.readline() == b"HTTP/1.1 200 OK\r\n"
            while answer.readline() != b": ping\n":
                pass
