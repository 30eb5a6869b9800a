"""
The field lines that are an upstream's own: the organisation's key and account.

Pure: imports the config room.
"""

from __future__ import annotations

from gptproxy.config import UpstreamSettings

__all__ = ["account_fields", "credential_field"]


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


def account_fields(upstream: UpstreamSettings) -> list[tuple[bytes, bytes]]:
    """
    :param upstream: whose account.
    :return: the field lines that name it; none where it is the key's own.
    """
    named = (
        (b"openai-organization", upstream.organization),
        (b"openai-project", upstream.project),
    )
    return [(name, value.encode("ascii")) for name, value in named if value is not None]
