"""
What a call looks like at one upstream: its address, its key, its name for the model.

Pure: imports the HTTP, config and wire rooms. Everything that decides where a key goes comes from the configuration;
of the caller's there are only the route, which the route table has found to be one of its own, and the query.
"""

from __future__ import annotations

from functools import lru_cache
from urllib.parse import quote, unquote_to_bytes

import orjson
from attrs import frozen

from gptproxy.config import UpstreamKind, UpstreamSettings
from gptproxy.http import Origin, split_url
from gptproxy.upstream.call import Call, Target
from gptproxy.upstream.credential import credential_field
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
    :param body: the body; None where there is none, or where it is streamed.
    """

    origin: Origin
    target: bytes
    fields: list[tuple[bytes, bytes]]
    body: bytes | None

    def __repr__(self) -> str:
        return f"<Outgoing to {self.origin.host}>"


def outgoing(call: Call, target: Target) -> Outgoing:
    """
    :param call: what is asked.
    :param target: of whom.
    :return: the request.
    """
    upstream = target.upstream
    in_path = upstream.kind == "azure" and upstream.api == "classic" and call.deployment
    origin, request_target = _endpoint(
        upstream.kind,
        upstream.url,
        upstream.api,
        upstream.api_version,
        call.route,
        target.model if in_path else "",
    )
    query = _passed_query(call.query) if call.query else b""
    if query:
        request_target += (b"&" if b"?" in request_target else b"?") + query
    fields = fields_up(call.fields, to_azure=upstream.kind == "azure")
    fields += target.own_fields
    body = call.body
    span = call.model_span
    if not in_path and target.model != call.model and body is not None and span is not None:
        name = target.model.encode() if call.model_in_form else orjson.dumps(target.model)
        body = splice(body, [Edit(span.start, span.end, name)])
    return Outgoing(origin, request_target, fields, body)


def endpoint_url(upstream: UpstreamSettings, route: str, model: str) -> str:
    """
    :param upstream: whose.
    :param route: OpenAI's path, for example ``/embeddings``.
    :param model: the upstream's own name for the model; empty where Azure's classic path is to name no deployment.
    :return: the absolute URL. Azure's classic form names the deployment in the path and the API's version in the query;
        its v1 form is OpenAI's own but for the base.
    """
    return _url(upstream.kind, upstream.url, upstream.api, upstream.api_version, route, model)


def _url(kind: UpstreamKind, base: str, api: str, api_version: str, route: str, model: str) -> str:
    if kind != "azure":
        return f"{base}{route}"
    version = quote(api_version, safe="")
    if api == "v1":
        # The form's own default is not said: some of its servers know no other.
        return f"{base}/openai/v1{route}" + (f"?api-version={version}" if version != "v1" else "")
    below = f"/deployments/{quote(model, safe='')}" if model else ""
    return f"{base}/openai{below}{route}?api-version={version}"


# The configuration has few of these, and taking a URL apart costs as much as reading a head. In the pure proxy callers
# name their own, and where a route names objects, those: a bound, then, of about 1 MiB.
@lru_cache(maxsize=1024)
def _endpoint(
    kind: UpstreamKind, base: str, api: str, api_version: str, route: str, model: str
) -> tuple[Origin, bytes]:
    """:return: server and target; only Azure's classic paths depend on the model."""
    return split_url(_url(kind, base, api, api_version, route, model).encode("ascii"))


def _passed_query(query: bytes) -> bytes:
    return b"&".join(
        part for part in query.split(b"&") if part and _query_name(part) not in _QUERY_NOT_UP
    )


def _query_name(part: bytes) -> bytes:
    """:return: as the upstream will read it: ``api%2Dversion`` is ``api-version``."""
    return unquote_to_bytes(part.partition(b"=")[0].replace(b"+", b" ")).strip().lower()
