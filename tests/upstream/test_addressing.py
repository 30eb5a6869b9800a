"""A call as one upstream gets it: everything that says where it goes comes from the configuration."""

from __future__ import annotations

import orjson
import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from gptproxy.config import UpstreamSettings
from gptproxy.http import Origin
from gptproxy.upstream import Target
from gptproxy.upstream.addressing import credential_field, endpoint_url, outgoing
from tests.upstream.examples import (
    BODY,
    CALLERS_TOKEN,
    KEY,
    LOCAL,
    OPENAI,
    PRIMARY,
    SECONDARY,
    a_call,
)
from tests.upstream.standins import leaks

AZURE_TARGET = b"/openai/deployments/gpt-4-east/chat/completions?api-version=2024-10-21"
V1 = evolve(PRIMARY, api="v1", api_version="v1")
_cheap = settings(max_examples=100, deadline=None)


@pytest.mark.parametrize(
    ("upstream", "model", "route", "expected"),
    [
        (
            PRIMARY,
            "gpt-4-east",
            "/chat/completions",
            (
                "https://gpt1.openai.azure.com/openai/deployments/gpt-4-east/chat/completions"
                "?api-version=2024-10-21"
            ),
        ),
        (
            SECONDARY,
            "a/b?c#d e",
            "/embeddings",
            (
                "https://gpt2.openai.azure.com/openai/deployments/a%2Fb%3Fc%23d%20e/embeddings"
                "?api-version=2023-05-15"
            ),
        ),
        (
            V1,
            "gpt-4-east",
            "/responses",
            "https://gpt1.openai.azure.com/openai/v1/responses",
        ),
        (
            evolve(V1, api_version="preview"),
            "",
            "/files/file-1/content",
            "https://gpt1.openai.azure.com/openai/v1/files/file-1/content?api-version=preview",
        ),
        (OPENAI, "gpt-4", "/embeddings", "https://api.openai.com/v1/embeddings"),
        (LOCAL, "x/y", "/completions", "http://127.0.0.1:8000/v1/completions"),
    ],
)
def test_urls(upstream: UpstreamSettings, model: str, route: str, expected: str) -> None:
    """Azure's classic form has the deployment in the path, OpenAI's the model in the body."""
    assert endpoint_url(upstream, route, model) == expected


def test_credentials() -> None:
    """Each kind in its own field; none where there is no key."""
    assert credential_field(PRIMARY) == [(b"api-key", KEY.encode())]
    assert credential_field(OPENAI) == [(b"authorization", b"Bearer " + KEY.encode())]
    assert credential_field(LOCAL) == []


def test_to_azure() -> None:
    """Address, key and body; the caller's own token is not among it."""
    sent = outgoing(a_call(), Target(PRIMARY, "gpt-4-east"))
    assert (sent.origin, sent.target, sent.body) == (
        Origin(True, "gpt1.openai.azure.com", 443),
        AZURE_TARGET,
        BODY,
    )
    assert sorted(sent.fields) == [
        (b"accept-encoding", b"identity"),
        (b"api-key", KEY.encode()),
        (b"content-type", b"application/json"),
    ]


def test_to_openai() -> None:
    """The organisation's bearer is the only one; a name that is the same is left alone."""
    sent = outgoing(a_call(), Target(OPENAI, "gpt-4"))
    assert (sent.origin.host, sent.target, sent.body) == (
        "api.openai.com",
        b"/v1/chat/completions",
        BODY,
    )
    assert [value for name, value in sent.fields if name == b"authorization"] == [
        b"Bearer " + KEY.encode()
    ]


def test_the_models_name_is_spliced() -> None:
    """Every other byte of the body stays: spaces, escapes, numbers' spelling."""
    sent = outgoing(a_call(), Target(LOCAL, 'meta/"llama"-ü'))
    assert sent.body == BODY.replace(b'"gpt-4"', '"meta/\\"llama\\"-ü"'.encode())


@_cheap
@given(
    members=st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"]), max_size=8).filter(
            lambda name: name != "model"
        ),
        st.recursive(
            st.none() | st.booleans() | st.integers(-9, 9) | st.text('ab"\\,{}[]é', max_size=5),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.just("model"), inner),
            max_leaves=6,
        ),
        max_size=4,
    ),
    model=st.text('gpt-4"\\{}:é', min_size=1, max_size=10),
    renamed=st.text('xyz"\\{}:é', min_size=1, max_size=10),
    place=st.integers(0, 4),
    indented=st.booleans(),
)
def test_the_rest_of_the_body(
    members: dict[str, object], model: str, renamed: str, place: int, indented: bool
) -> None:
    """Before the name and behind it the body is the same, byte for byte."""
    items = list(members.items())
    items.insert(place, ("model", model))
    body = orjson.dumps(dict(items), option=orjson.OPT_INDENT_2 if indented else None)
    call = a_call(body, model=model)
    sent = outgoing(call, Target(LOCAL, renamed)).body
    before, behind = body[: call.model_span.start], body[call.model_span.end :]
    assert sent.startswith(before)
    assert sent.endswith(behind)
    assert orjson.loads(sent[len(before) : len(sent) - len(behind)]) == renamed
    assert outgoing(call, Target(PRIMARY, renamed)).body == body


@pytest.mark.parametrize(
    ("query", "passed"),
    [
        (b"", b""),
        (b"a=b", b"a=b"),
        (b"include[]=x&include[]=y&beta=true&after=", b"include[]=x&include[]=y&beta=true&after="),
        (b"b=2&a=1&b=1&flag", b"b=2&a=1&b=1&flag"),
        (b"&&a=b&&", b"a=b"),
        (b"%61=%62&x=a%26api-version=1", b"%61=%62&x=a%26api-version=1"),
        (b"api-version=2020-01-01", b""),
        (b"a=b&API-Version=x&c=d", b"a=b&c=d"),
        (b"api%2Dversion=x", b""),
        (b"%61pi-version=x", b""),
        (b"%20api-version=x&+key=y", b""),
        (b"api-version", b""),
        (b"private_token=t&access_token=t&job_token=t&key=t&api-key=t&subscription-key=t", b""),
        (b"private%5Ftoken=t", b""),
        (b"apikey=1&api-versions=2&my_key=3", b"apikey=1&api-versions=2&my_key=3"),
    ],
)
def test_query(query: bytes, passed: bytes) -> None:
    """It passes as it is but for credentials and what the upstream's own address says, however spelt."""
    azure = outgoing(a_call(query=query), Target(PRIMARY, "gpt-4-east")).target
    assert azure == AZURE_TARGET + (b"&" + passed if passed else b"")
    openai = outgoing(a_call(query=query), Target(OPENAI, "gpt-4")).target
    assert openai == b"/v1/chat/completions" + (b"?" + passed if passed else b"")


_QUERY = st.text("abkey-version_[]=&?/:@!$'()*+,;.~%2F0".replace("%", ""), max_size=40).map(
    str.encode
)
_VALUE = st.binary(max_size=30).map(lambda value: value.translate(None, b"\r\n\0"))
_NAMES = st.sampled_from(
    [b"host", b"x-forwarded-host", b"forwarded", b"api-key", b"x-original-url", b"connection"]
)


@_cheap
@given(
    query=_QUERY | st.sampled_from([b"url=https://evil.example/", b"@evil.example", b"?x=//evil"]),
    model=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)
    | st.sampled_from(["evil.com/#", "../..", "a?b=c", "@evil.com", "x\r\ny: z", "%2e%2e"]),
    fields=st.lists(st.tuples(_NAMES, _VALUE), max_size=4),
)
def test_nothing_of_the_callers_says_where_it_goes(
    query: bytes, model: str, fields: list[tuple[bytes, bytes]]
) -> None:
    """Neither query nor body nor fields: server, path, version and key are the configuration's."""
    body = orjson.dumps({"model": model, "api_base": "https://evil.example", "url": "x"})
    call = a_call(body, model=model, query=query, fields=tuple(fields))
    sent = outgoing(call, Target(PRIMARY, "gpt-4-east"))
    assert sent.origin == Origin(True, "gpt1.openai.azure.com", 443)
    assert sent.target.partition(b"&")[0] == AZURE_TARGET
    assert [value for name, value in sent.fields if name == b"api-key"] == [KEY.encode()]
    sent = outgoing(call, Target(OPENAI, model))
    assert sent.origin == Origin(True, "api.openai.com", 443)
    assert sent.target.partition(b"?")[0] == b"/v1/chat/completions"
    names = [name for name, _ in sent.fields]
    assert names.count(b"authorization") == 1
    assert not {b"host", b"x-forwarded-host", b"forwarded", b"api-key"}.intersection(names)


def test_nothing_secret_is_shown() -> None:
    """Neither key, token nor prompt is in what these objects show of themselves."""
    call = a_call(query=f"x={CALLERS_TOKEN}".encode())
    target = Target(PRIMARY, "gpt-4-east")
    shown = (call, target, outgoing(call, target), outgoing(call, Target(OPENAI, "gpt-4")))
    assert not leaks(KEY, *shown)
    assert not leaks(CALLERS_TOKEN, *shown)
    assert not leaks(BODY.decode(), *shown)
    assert "gpt1.openai.azure.com" in repr(shown[2])


def test_azures_v1_form() -> None:
    """The deployment goes into the body, and nothing else of it changes; the key is in Azure's header."""
    call = a_call(BODY, query=b"api-version=1&x=2")
    request = outgoing(call, Target(V1, "gpt-4-east"))
    assert request.target == b"/openai/v1/chat/completions?x=2"
    assert request.body == BODY.replace(b'"gpt-4"', b'"gpt-4-east"')
    assert (b"api-key", KEY.encode()) in request.fields
