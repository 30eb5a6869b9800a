"""
Embeddings for gptproxy's own use, from whichever upstream has the model.

May import the upstream, HTTP, config and wire rooms and Twisted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import orjson
from twisted.logger import Logger

from gptproxy.config import UpstreamSettings
from gptproxy.http import NoAnswer, OwnAnswer, OwnCalls
from gptproxy.upstream.addressing import credential_field, endpoint_url
from gptproxy.upstream.call import Target
from gptproxy.upstream.entra import EntraTokens, NoToken
from gptproxy.upstream.models import targets_for

__all__ = ["Embedder", "NoEmbeddings"]

ANSWER_LIMIT_BYTES = 8_388_608
"""Bound on an answer: 100 inputs of 3,072 dimensions in base64 are 1.6 MiB."""


class NoEmbeddings(Exception):
    """
    No upstream gave embeddings.

    :param reason: for the log and the operator: which upstream, and why not.
    """


class Embedder:
    """
    :param upstreams: in order of preference.
    :param unknown_model: as for calls.
    :param model: the embedding model's name in OpenAI's terms.
    :param calls: makes the calls.
    :param total_seconds: bound for each upstream, retries included.
    :param tokens: of the upstreams that take no key.
    :param dimensions: what is asked of the model; None: its own.
    """

    _log = Logger()

    def __init__(
        self,
        upstreams: Sequence[UpstreamSettings],
        unknown_model: Literal["refuse", "first"],
        model: str,
        calls: OwnCalls,
        total_seconds: float = 30.0,
        tokens: EntraTokens | None = None,
        dimensions: int | None = None,
    ) -> None:
        self._targets = targets_for(upstreams, model, unknown_model)
        self._model = model
        self._calls = calls
        self._total_seconds = total_seconds
        self._tokens = tokens
        self._dimensions = dimensions

    async def answer(self, texts: Sequence[str]) -> bytes:
        """
        :param texts: 1 to 2,048 texts, none of them empty.
        :return: OpenAI's embeddings answer, the vectors in base64.
        :raise NoEmbeddings: no upstream gave one.
        """
        reasons = []
        for target in self._targets:
            try:
                return await self._ask(target, texts)
            except NoEmbeddings as none:
                reasons.append(str(none))
                self._log.warn("embeddings: {reason}", reason=str(none))
        raise NoEmbeddings("; ".join(reasons))

    async def _ask(self, target: Target, texts: Sequence[str]) -> bytes:
        upstream = target.upstream
        asked: dict[str, object] = {
            "model": target.model,
            "input": list(texts),
            "encoding_format": "base64",
        }
        if self._dimensions is not None:
            asked["dimensions"] = self._dimensions
        body = orjson.dumps(asked)
        answer, token = await self._answer_of(target, body)
        if (
            answer.status == 401
            and upstream.entra is not None
            and self._tokens is not None
            and self._tokens.refused(upstream.name, token)
        ):
            # It was withdrawn, or the role was given after it: as for a caller's call, another is fetched.
            answer, _ = await self._answer_of(target, body)
        if answer.status >= 300:
            raise NoEmbeddings(f"upstream {upstream.name}: status {answer.status}")
        return answer.body

    async def _answer_of(self, target: Target, body: bytes) -> tuple[OwnAnswer, bytes]:
        """:return: what the upstream answered, and the token that was sent; empty where it takes a key."""
        upstream, token = target.upstream, b""
        headers = {"content-type": "application/json"} | {
            name.decode(): value.decode() for name, value in credential_field(upstream)
        }
        if upstream.entra is not None:
            if self._tokens is None:
                raise NoEmbeddings(
                    f"upstream {upstream.name} takes tokens, and nobody fetches them"
                )
            try:
                token = await self._tokens.token(upstream.name, upstream.entra)
            except NoToken as none:
                raise NoEmbeddings(f"upstream {upstream.name} {none}") from none
            headers["authorization"] = f"Bearer {token.decode('ascii')}"
        try:
            answer = await self._calls.ask(
                "POST",
                endpoint_url(upstream, "/embeddings", target.model),
                headers,
                body,
                limit_bytes=ANSWER_LIMIT_BYTES,
                total_seconds=self._total_seconds,
            )
        except NoAnswer as no_answer:
            raise NoEmbeddings(f"upstream {upstream.name}: {no_answer.cause}") from no_answer
        return answer, token
