"""
Which header fields pass, up and down.

Pure: imports the HTTP room's grammar.
"""

from __future__ import annotations

from gptproxy.http import Fields, connection_options

__all__ = ["fields_down", "fields_up"]

# A Connection header that nearly all have.
_NAMES_NO_FIELD = (b"close", b"keep-alive", b"Keep-Alive")

# RFC 9110 7.6.1, and what each connection has of its own.
_HOP_BY_HOP = frozenset(
    (
        b"connection",
        b"content-length",
        b"expect",
        b"host",
        b"http2-settings",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    )
)

# Who the caller is and how the call came is the gateway's business; the organisation's account is not the caller's.
_NOT_UP = _HOP_BY_HOP | frozenset(
    (
        b"accept-encoding",
        b"api-key",
        b"authentication",
        b"authorization",
        b"cookie",
        b"deploy-token",
        b"forwarded",
        # Under one key two callers may send the same, and one would get the other's answer.
        b"idempotency-key",
        b"job-token",
        b"ocp-apim-subscription-key",
        b"openai-organization",
        b"openai-project",
        b"origin",
        b"private-token",
        b"referer",
        b"via",
        b"x-api-key",
        b"x-http-method-override",
        b"x-original-url",
        b"x-real-ip",
        b"x-rewrite-url",
    )
)
# "x-ms-": with one of these a caller would choose the deployment (x-ms-spillover-deployment).
_NOT_UP_PREFIXES = (b"proxy-", b"sec-", b"x-forwarded-", b"x-gptproxy-", b"x-ms-")

# Azure answers 431 to more than ten headers that it does not know.
_UP_TO_AZURE = frozenset((b"accept", b"content-type", b"user-agent"))

_NOT_DOWN = _HOP_BY_HOP | frozenset(
    (
        b"alt-svc",
        b"azureml-model-session",
        b"clear-site-data",
        b"content-location",
        b"date",
        b"location",
        b"nel",
        b"openai-organization",
        b"openai-project",
        b"refresh",
        b"report-to",
        b"reporting-endpoints",
        b"server",
        b"set-cookie",
        b"strict-transport-security",
        b"via",
        b"www-authenticate",
        b"x-powered-by",
    )
)
# "x-accel-": orders to a reverse proxy before us, which the upstream has none to give.
_NOT_DOWN_PREFIXES = (b"access-control-", b"cf-", b"x-accel-", b"x-gptproxy-", b"x-ms-")


class _Passing(dict[bytes, bool]):
    """
    Whether fields of a name pass, worked out once for each name.

    :param names: those that do not.
    :param prefixes: how others begin that do not.
    :param underscores: those with an underscore may.
    """

    def __init__(
        self, names: frozenset[bytes], prefixes: tuple[bytes, ...], *, underscores: bool
    ) -> None:
        super().__init__()
        self._names = names
        self._prefixes = prefixes
        self._underscores = underscores

    def __missing__(self, name: bytes) -> bool:
        passes = (
            name not in self._names
            and not name.startswith(self._prefixes)
            and (self._underscores or b"_" not in name)
        )
        # Names are few where nobody makes them up.
        if len(self) < 1024 and len(name) <= 64:
            self[name] = passes
        return passes


# "X-Api_Key" and its like: servers behind gateways read underscores as hyphens.
_PASSES_UP = _Passing(_NOT_UP, _NOT_UP_PREFIXES, underscores=False)
_PASSES_DOWN = _Passing(_NOT_DOWN, _NOT_DOWN_PREFIXES, underscores=True)


def fields_up(fields: Fields, *, to_azure: bool) -> list[tuple[bytes, bytes]]:
    """
    :param fields: the caller's field lines.
    :param to_azure: only the few that Azure needs.
    :return: those that go to the upstream. Answers are asked for uncompressed, because errors in them are read.
    """
    if to_azure:
        dropped = connection_options(fields)
        passed = [field for field in fields if field[0] in _UP_TO_AZURE and field[0] not in dropped]
    else:
        passed = _without(fields, _PASSES_UP)
    passed.append((b"accept-encoding", b"identity"))
    return passed


def fields_down(fields: Fields) -> list[tuple[bytes, bytes]]:
    """
    :param fields: the upstream's field lines.
    :return: those that go to the caller: what its client reads, nothing that names the organisation's account or speaks
        for the upstream's own site.
    """
    return _without(fields, _PASSES_DOWN)


def _without(fields: Fields, passes: _Passing) -> list[tuple[bytes, bytes]]:
    passed = [field for field in fields if passes[field[0]]]
    for name, value in fields:
        if name == b"connection" and value not in _NAMES_NO_FIELD:
            options = connection_options(fields)
            return [field for field in passed if field[0] not in options]
    return passed
