"""Which header fields pass, up and down."""

from __future__ import annotations

import pytest

from gptproxy.upstream.fields import fields_down, fields_up

HOP_BY_HOP = [
    b"connection",
    b"content-length",
    b"keep-alive",
    b"proxy-authenticate",
    b"proxy-authorization",
    b"proxy-connection",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
]
IDENTITY = (b"accept-encoding", b"identity")


@pytest.mark.parametrize(
    "name",
    [
        *HOP_BY_HOP,
        b"host",
        b"expect",
        b"http2-settings",
        b"authorization",
        b"authentication",
        b"api-key",
        b"x-api-key",
        b"ocp-apim-subscription-key",
        b"private-token",
        b"job-token",
        b"deploy-token",
        b"cookie",
        b"openai-organization",
        b"idempotency-key",
        b"openai-project",
        b"origin",
        b"referer",
        b"forwarded",
        b"via",
        b"x-real-ip",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-proto",
        b"x-original-url",
        b"x-rewrite-url",
        b"x-http-method-override",
        b"x-ms-spillover-deployment",
        b"x-gptproxy-request-id",
        b"proxy-anything",
        b"sec-websocket-protocol",
        b"sec-fetch-site",
        b"accept-encoding",
        b"x-api_key",
        b"transfer_encoding",
        b"_",
    ],
)
def test_not_up(name: bytes) -> None:
    """Neither to OpenAI nor to Azure."""
    for to_azure in (True, False):
        passed = fields_up([(name, b"value")], to_azure=to_azure)
        assert passed == [IDENTITY]


@pytest.mark.parametrize(
    ("name", "to_azure"),
    [
        (b"content-type", True),
        (b"accept", True),
        (b"user-agent", True),
        (b"openai-beta", False),
        (b"x-client-request-id", False),
        (b"x-stainless-lang", False),
        (b"x-stainless-read-timeout", False),
        (b"x-oai-attestation", False),
        (b"traceparent", False),
        (b"x-new-in-the-client", False),
    ],
)
def test_up(name: bytes, to_azure: bool) -> None:
    """OpenAI's clients invent fields; Azure answers 431 to more than ten that it does not know."""
    field = (name, b"value")
    assert fields_up([field], to_azure=False) == [field, IDENTITY]
    assert fields_up([field], to_azure=True) == ([field, IDENTITY] if to_azure else [IDENTITY])


def test_named_by_connection() -> None:
    """What Connection names is for this hop only, in any case and any line (RFC 9110 7.6.1)."""
    fields = [
        (b"connection", b"close, X-One"),
        (b"connection", b"x-two"),
        (b"x-one", b"1"),
        (b"x-two", b"2"),
        (b"x-three", b"3"),
        (b"user-agent", b"u"),
    ]
    rest = [(b"x-three", b"3"), (b"user-agent", b"u")]
    assert fields_up(fields, to_azure=False) == [*rest, IDENTITY]
    assert fields_down(fields) == rest
    assert fields_up([(b"connection", b"accept"), (b"accept", b"*/*")], to_azure=True) == [IDENTITY]


def test_order_and_repetition() -> None:
    """They pass as they came."""
    fields = [(b"x-b", b"1"), (b"x-a", b"2"), (b"x-b", b"3")]
    assert fields_up(fields, to_azure=False) == [*fields, IDENTITY]
    assert fields_down(fields) == fields


@pytest.mark.parametrize(
    "name",
    [
        *HOP_BY_HOP,
        b"set-cookie",
        b"server",
        b"date",
        b"via",
        b"alt-svc",
        b"strict-transport-security",
        b"nel",
        b"report-to",
        b"reporting-endpoints",
        b"clear-site-data",
        b"refresh",
        b"location",
        b"content-location",
        b"www-authenticate",
        b"openai-organization",
        b"openai-project",
        b"azureml-model-session",
        b"x-powered-by",
        b"x-ms-region",
        b"x-ms-deployment-name",
        b"x-ms-spillover-from-deployment",
        b"x-accel-redirect",
        b"x-gptproxy-upstream",
        b"cf-ray",
        b"cf-cache-status",
        b"access-control-allow-origin",
        b"access-control-expose-headers",
    ],
)
def test_not_down(name: bytes) -> None:
    """What names the organisation's account, or speaks for the upstream's own site."""
    assert fields_down([(name, b"value")]) == []


@pytest.mark.parametrize(
    "name",
    [
        b"content-type",
        b"content-encoding",
        b"cache-control",
        b"vary",
        b"x-request-id",
        b"apim-request-id",
        b"openai-processing-ms",
        b"openai-version",
        b"x-ratelimit-limit-requests",
        b"x-ratelimit-remaining-tokens",
        b"x-ratelimit-reset-requests",
        b"retry-after",
        b"retry-after-ms",
        b"x-should-retry",
    ],
)
def test_down(name: bytes) -> None:
    """What clients read."""
    assert fields_down([(name, b"value")]) == [(name, b"value")]


def test_long_names_are_judged_and_not_remembered() -> None:
    """Whoever makes names up fills no table."""
    long = b"x-" + b"n" * 100
    assert fields_down([(long, b"v")]) == [(long, b"v")]
    assert fields_down([(b"x-ms-" + long, b"v")]) == []
