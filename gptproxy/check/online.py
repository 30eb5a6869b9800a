"""
The upstreams and GitLab, asked what costs nothing.

May import the HTTP, upstream and config rooms and Twisted.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Final

import orjson
from twisted.internet.defer import Deferred, gatherResults

from gptproxy.check.finding import Finding, Level
from gptproxy.config import GitLabSettings, Settings, UpstreamSettings
from gptproxy.embedding_place import embedding_upstreams
from gptproxy.http import NoAnswer, OwnCalls
from gptproxy.upstream import EntraTokens
from gptproxy.upstream.addressing import credential_field, endpoint_url
from gptproxy.upstream.entra import NoToken

__all__ = ["check_online"]

TOTAL_SECONDS: Final = 15.0
"""For each of them, retries included: somebody sits at a terminal."""

LIMIT_BYTES: Final = 8_388_608
"""Azure's lists of a region's models have hundreds of KiB."""


async def check_online(settings: Settings, calls: OwnCalls, tokens: EntraTokens) -> list[Finding]:
    """
    :param settings: whom to ask; all of them at the same time.
    :param calls: asks.
    :param tokens: for upstreams that take no key.
    :return: a finding for each upstream and for GitLab.
    """
    asked = [*settings.upstreams]
    if settings.knowledge is not None:
        # A server for embeddings alone is none of the upstreams.
        asked += [
            one
            for one in embedding_upstreams(settings, settings.knowledge)
            if one not in settings.upstreams
        ]
    looks = [
        (f"upstream {upstream.name}", _upstream(upstream, calls, tokens)) for upstream in asked
    ]
    if settings.gitlab is not None:
        looks.append(("GitLab", _gitlab(settings.gitlab, calls)))
    looking = [Deferred.fromCoroutine(_looked(subject, look)) for subject, look in looks]
    return list(await gatherResults(looking, consumeErrors=True))


async def _looked(subject: str, look: Awaitable[Finding]) -> Finding:
    """A look that fails is a finding too."""
    try:
        return await look
    except Exception as error:  # noqa: BLE001 - the others' findings are still to be told
        return Finding(Level.ERROR, subject, f"cannot be asked: {type(error).__name__}")


async def _upstream(upstream: UpstreamSettings, calls: OwnCalls, tokens: EntraTokens) -> Finding:
    subject = f"upstream {upstream.name}"
    url = endpoint_url(upstream, "/models", "")
    fields = {name.decode(): value.decode() for name, value in credential_field(upstream)}
    credential = "key" if fields else ""
    try:
        if upstream.entra is not None:
            token = await tokens.token(upstream.name, upstream.entra)
            fields["authorization"] = f"Bearer {token.decode('ascii')}"
            credential = "token"
        answer = await calls.ask(
            "GET", url, fields, limit_bytes=LIMIT_BYTES, total_seconds=TOTAL_SECONDS
        )
    except NoToken as no_token:
        return Finding(Level.ERROR, subject, f"{no_token}: see to [upstream.entra]")
    except NoAnswer as no_answer:
        return Finding(Level.ERROR, subject, f"{upstream.url} does not answer: {no_answer.cause}")
    if answer.status in (401, 403):
        asked = f"refuses the {credential}" if credential else "wants a key"
        return Finding(Level.ERROR, subject, f"{upstream.url} {asked} (status {answer.status})")
    if answer.status != 200 or not _json_object(answer.body):
        said = f"answers {answer.status}" + (", and not with JSON" if answer.status == 200 else "")
        return Finding(Level.ERROR, subject, f"{url} {said}: see to its url")
    taken = f" and takes the {credential}" if credential else "; it has no key"
    return Finding(Level.GOOD, subject, f"{upstream.url} answers{taken}")


async def _gitlab(gitlab: GitLabSettings, calls: OwnCalls) -> Finding:
    url = f"{gitlab.url}/api/v4/version"
    headers = {"accept": "application/json"}
    token = gitlab.service_token
    if token is not None:
        headers["private-token"] = token.reveal()
    try:
        answer = await calls.ask(
            "GET", url, headers, limit_bytes=65_536, total_seconds=TOTAL_SECONDS
        )
    except NoAnswer as no_answer:
        return Finding(Level.ERROR, "GitLab", f"{gitlab.url} does not answer: {no_answer.cause}")
    content = _json_object(answer.body)
    if answer.status == 200 and isinstance(content.get("version"), str):
        return Finding(Level.GOOD, "GitLab", f"{gitlab.url} is version {content['version']}")
    if answer.status == 401 and content and token is None:
        return Finding(
            Level.GOOD,
            "GitLab",
            f"{gitlab.url} answers; which version it is it tells a service_token alone",
        )
    if answer.status in (401, 403) and content:
        return Finding(
            Level.ERROR, "GitLab", f"{gitlab.url} refuses the service_token ({answer.status})"
        )
    return Finding(
        Level.ERROR, "GitLab", f"{url} answers {answer.status}, and not as GitLab does: see to url"
    )


def _json_object(body: bytes) -> dict[str, object]:
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return content if isinstance(content, dict) else {}
