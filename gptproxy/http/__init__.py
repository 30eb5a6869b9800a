"""
HTTP/1.1 by a strict grammar, behind Twisted's own interfaces.

Bytes become values in :mod:`~gptproxy.http.grammar` and :mod:`~gptproxy.http.bodies`, which know nothing of sockets.
On the server's side :mod:`~gptproxy.http.channel` feeds them to requests of a :class:`Site`; a resource that provides
:class:`IRenderedAtHeaders` is rendered before the body is read. On the client's side :class:`Agent` keeps connections
to upstreams, and :func:`relay_body` carries an answer down to a request with back-pressure both ways.
"""

from gptproxy.http.agent import Agent, ClientTimeouts, ConnectFailed
from gptproxy.http.answers import (
    abort_answer,
    answer_whole,
    begin_answer,
    fields_of,
    when_lost,
    whole_body,
)
from gptproxy.http.client_connection import FirstByteTimeout, ResponseNeverReceived
from gptproxy.http.collecting import ResponseTooLarge, collect_body
from gptproxy.http.connection_limit import ConnectionLimit, fitting_connections
from gptproxy.http.draining import Drain
from gptproxy.http.grammar import Fields, MalformedMessage, connection_options
from gptproxy.http.immediate import ImmediateReactor
from gptproxy.http.immediate_tls import ImmediateTLSFactory
from gptproxy.http.interfaces import IBodyReceiver, IReactor, IRenderedAtHeaders, IRequestBody
from gptproxy.http.origin import InvalidURL, Origin, split_url
from gptproxy.http.own_calls import NoAnswer, OwnAnswer, OwnCalls, backoff_seconds
from gptproxy.http.relay import Relay, RelayBroken, is_event_stream, relay_body
from gptproxy.http.request import Request
from gptproxy.http.request_body import BodyIncomplete, BodyTooLarge
from gptproxy.http.request_producer import BytesBody, StreamedUpload
from gptproxy.http.response import Response
from gptproxy.http.retry_after import asked_seconds
from gptproxy.http.site import ServerTimeouts, Site
from gptproxy.http.timer import DeadlineTimer

__all__ = [
    "Agent",
    "BodyIncomplete",
    "BodyTooLarge",
    "BytesBody",
    "ClientTimeouts",
    "ConnectFailed",
    "ConnectionLimit",
    "DeadlineTimer",
    "Drain",
    "Fields",
    "FirstByteTimeout",
    "IBodyReceiver",
    "IReactor",
    "IRenderedAtHeaders",
    "IRequestBody",
    "ImmediateReactor",
    "ImmediateTLSFactory",
    "InvalidURL",
    "MalformedMessage",
    "NoAnswer",
    "Origin",
    "OwnAnswer",
    "OwnCalls",
    "Relay",
    "RelayBroken",
    "Request",
    "Response",
    "ResponseNeverReceived",
    "ResponseTooLarge",
    "ServerTimeouts",
    "Site",
    "StreamedUpload",
    "abort_answer",
    "answer_whole",
    "asked_seconds",
    "backoff_seconds",
    "begin_answer",
    "collect_body",
    "connection_options",
    "fields_of",
    "fitting_connections",
    "is_event_stream",
    "relay_body",
    "split_url",
    "when_lost",
    "whole_body",
]
