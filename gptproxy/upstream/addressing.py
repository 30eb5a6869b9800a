"""
What a call looks like at one upstream: its address, its key, its name for the model.

Pure: imports the HTTP, config and wire rooms. Everything that decides where a key goes comes from the configuration;
of the caller's there are only the route, which the route table names, and the query.
"""

from __future__ import annotations

from functools import lru_cache
from urllib.parse import quote, unquote_to_bytes

import orjson
from attrs import frozen

from gptproxy.config import UpstreamKind, UpstreamSettings
from gptproxy.http import Origin, split_url
from gptproxy.upstream.call import Call, Target
from gptproxy.upstream.fields import fields_up
from gptproxy.wire import Edit, splice

__all__ = ["Outgoing", "credential_field", "endpoint_url", "outgoing"]

# Callers' spellings of credentials and of what the upstream's own address says.
_QUERY_NOT_UP = frozenset(
    (
        b"access_token",
        b"api-key",
        b"api-version",
        b"job_token",
        b"key",
        b"private_token",
        b"subscription-key",
    )
)


@frozen
class Outgoing:
    """
    A request as the agent sends it.

    :param origin: the server.
    :param target: in origin-form.
    :param fields: the field lines, the organisation's key among them.
    :param body: the body.
    """

    origin: Origin
    target: bytes
    fields: list[tuple[bytes, bytes]]
    body: bytes

    def __repr__(self) -> str:
        return f"<Outgoing to {self.origin.host}>"


def outgoing(call: Call, target: Target) -> Outgoing:
    """
    :param call: what is asked.
    :param target: of whom.
    :return: the request.
    """
    upstream = target.upstream
    origin, request_target = _endpoint(
        upstream.kind,
        upstream.url,
        upstream.api_version,
        call.route,
        target.model if upstream.kind == "azure" else "",
    )
    query = _passed_query(call.query) if call.query else b""
    if query:
        request_target += (b"&" if b"?" in request_target else b"?") + query
    fields = fields_up(call.fields, to_azure=upstream.kind == "azure")
    fields += credential_field(upstream)
    body = call.body
    if upstream.kind == "openai" and target.model != call.model:
        span = call.model_span
        body = splice(body, [Edit(span.start, span.end, orjson.dumps(target.model))])
    return Outgoing(origin, request_target, fields, body)


def endpoint_url(upstream: UpstreamSettings, route: str, model: str) -> str:
    """
    :param upstream: whose.
    :param route: OpenAI's path, for example ``/embeddings``.
    :param model: the upstream's own name for the model.
    :return: the absolute URL. Azure's classic form names the deployment in the path and the API's version in the query.
    """
    return _url(upstream.kind, upstream.url, upstream.api_version, route, model)


def credential_field(upstream: UpstreamSettings) -> list[tuple[bytes, bytes]]:
    """
    :param upstream: whose key.
    :return: the field line that carries it; none where the upstream has no key.
    """
    if upstream.api_key is None:
        return []
    key = upstream.api_key.reveal().encode("ascii")
    if upstream.kind == "azure":
        return [(b"api-key", key)]
    return [(b"authorization", b"Bearer " + key)]


def _url(kind: UpstreamKind, base: str, api_version: str, route: str, model: str) -> str:
    if kind == "azure":
        deployment = quote(model, safe="")
        version = quote(api_version, safe="")
        return f"{base}/openai/deployments/{deployment}{route}?api-version={version}"
    return f"{base}{route}"


# The configuration has few of these, and taking a URL apart costs as much as reading a head. In the pure proxy callers
# name their own: a bound, then, of about 1 MiB, since deployments' names have at most 64 characters.
@lru_cache(maxsize=1024)
def _endpoint(
    kind: UpstreamKind, base: str, api_version: str, route: str, model: str
) -> tuple[Origin, bytes]:
    """:return: server and target; an openai upstream's do not depend on the model."""
    return split_url(_url(kind, base, api_version, route, model).encode("ascii"))


def _passed_query(query: bytes) -> bytes:
    return b"&".join(
        part for part in query.split(b"&") if part and _query_name(part) not in _QUERY_NOT_UP
    )


def _query_name(part: bytes) -> bytes:
    """:return: as the upstream will read it: ``api%2Dversion`` is ``api-version``."""
    return unquote_to_bytes(part.partition(b"=")[0].replace(b"+", b" ")).strip().lower()
