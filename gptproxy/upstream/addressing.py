"""
What a call looks like at one upstream: its address, its key, its name for the model.

Pure: imports the HTTP, config and wire rooms. Everything that decides where a key goes comes from the configuration;
of the caller's there are only the route, which the route table names, and the query.
"""

from __future__ import annotations

from urllib.parse import quote, unquote_to_bytes

import orjson
from attrs import frozen

from gptproxy.config import UpstreamSettings
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
    url = endpoint_url(upstream, call.route, target.model)
    query = _passed_query(call.query)
    if query:
        url += ("&" if "?" in url else "?") + query.decode("ascii")
    origin, request_target = split_url(url.encode("ascii"))
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
    if upstream.kind == "azure":
        deployment = quote(model, safe="")
        version = quote(upstream.api_version, safe="")
        return f"{upstream.url}/openai/deployments/{deployment}{route}?api-version={version}"
    return f"{upstream.url}{route}"


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


def _passed_query(query: bytes) -> bytes:
    return b"&".join(
        part for part in query.split(b"&") if part and _query_name(part) not in _QUERY_NOT_UP
    )


def _query_name(part: bytes) -> bytes:
    """:return: as the upstream will read it: ``api%2Dversion`` is ``api-version``."""
    return unquote_to_bytes(part.partition(b"=")[0].replace(b"+", b" ")).strip().lower()
