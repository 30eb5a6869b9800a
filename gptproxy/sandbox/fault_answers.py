"""Faults that are an answer of their own: a status and a body in the form of each service.

Pure: imports nothing of Twisted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

from gptproxy.sandbox import azure
from gptproxy.sandbox.azure_site import azure_headers, azure_json, version_of
from gptproxy.sandbox.faults import Fault
from gptproxy.sandbox.gitlab import gitlab_headers, gitlab_json
from gptproxy.sandbox.messages import Call, Headers, JsonObject, Refusal, Reply, write_json
from gptproxy.sandbox.openai_site import invalid_key, openai_headers, openai_json

__all__ = ["fault_reply"]

_HTML = b"<!DOCTYPE html>\n<html><head><title>%s</title></head><body><h1>%s</h1></body></html>\n"


def _waiting(fault: Fault) -> Headers:
    """The fields that say when to come again: whole seconds (RFC 9110 10.2.3), and milliseconds."""
    if fault.retry_after is None:
        return ()
    return (
        ("retry-after", str(math.ceil(fault.retry_after))),
        ("retry-after-ms", str(math.ceil(fault.retry_after * 1000))),
    )


def _refused(call: Call, refusal: Refusal, more: Headers = ()) -> Reply:
    reply = openai_json(call, refusal.body(), refusal.status)
    return Reply(reply.status, (*reply.headers, *more), reply.body)


def _openai(fault: Fault, call: Call) -> Reply | None:
    name = fault.fault
    if name == "status_401":
        return _refused(call, invalid_key("sk-sandbox-withdrawn"))
    if name == "status_403_blocked_resource":
        message = "Country, region, or territory not supported"
        code = "unsupported_country_region_territory"
        return _refused(call, Refusal(403, message, kind="request_forbidden", code=code))
    if name == "status_429":
        message = (
            "Rate limit reached for gpt-4 in organization org-sandbox on requests per min (RPM): "
            f"Limit 3, Used 3, Requested 1. Please try again in {fault.retry_after or 1:g}s. Visit "
            "https://platform.openai.com/account/rate-limits to learn more."
        )
        refusal = Refusal(429, message, kind="requests", code="rate_limit_exceeded")
        return _refused(call, refusal, _waiting(fault))
    if name == "quota_exhausted":
        message = (
            "You exceeded your current quota, please check your plan and billing details. For "
            "more information on this error, read the docs: "
            "https://platform.openai.com/docs/guides/error-codes/api-errors."
        )
        code = "insufficient_quota"
        return _refused(call, Refusal(429, message, kind=code, code=code))
    if name == "status_500":
        message = (
            "The server had an error while processing your request. Sorry about that! You can "
            "retry your request, or contact us through our help center at help.openai.com."
        )
        return _refused(call, Refusal(500, message, kind="server_error"))
    if name == "status_503":
        message = "That model is currently overloaded with other requests."
        code = "server_is_overloaded"
        refusal = Refusal(503, message, kind="server_error", code=code)
        return _refused(call, refusal, _waiting(fault))
    if name == "content_filter":
        message = (
            "Your request was rejected as a result of our safety system. Your prompt may contain "
            "text that is not allowed by our safety system."
        )
        return _refused(call, Refusal(400, message, code="content_policy_violation"))
    if name == "deployment_not_found":
        message = "The model `gpt-4` does not exist or you do not have access to it."
        return _refused(call, Refusal(404, message, code="model_not_found"))
    return None


_OPERATIONS: Mapping[str, str] = MappingProxyType(
    {
        "/chat/completions": "ChatCompletions_Create",
        "/embeddings": "Embeddings_Create",
        "/images/generations": "ImageGenerations_Create",
    }
)


def _azure(fault: Fault, call: Call) -> Reply | None:
    name = fault.fault
    if name == "content_filter":
        if call.path.endswith("/images/generations"):
            return azure_json(call, azure.image_blocked(int(call.now)), 400)
        return azure_json(call, azure.prompt_blocked(fault.spelling), 400)
    if name == "status_429":
        operation = next(
            (title for end, title in _OPERATIONS.items() if call.path.endswith(end)),
            "Completions_Create",
        )
        body = azure.rate_limited(fault.retry_after or 1, operation, version_of(call))
        reply = azure_json(call, body, 429)
        return Reply(429, (*reply.headers, *_waiting(fault)), reply.body)
    if name == "status_503":
        body = azure.error("ServiceUnavailable", "The service is temporarily unable to process.")
        reply = azure_json(call, body, 503)
        return Reply(503, (*reply.headers, *_waiting(fault)), reply.body)
    plain: dict[str, tuple[int, JsonObject]] = {
        "deployment_not_found": (404, azure.DEPLOYMENT_NOT_FOUND),
        "quota_exhausted": (
            429,
            azure.error(
                "insufficient_quota",
                "You exceeded your current quota, please check your plan and billing details.",
            ),
        ),
        "status_401": (401, azure.UNAUTHORIZED),
        "status_403_blocked_resource": (403, azure.RESOURCE_BLOCKED),
        "status_500": (
            500,
            azure.error("InternalServerError", "The server had an error. Please try again."),
        ),
        "timeout_408": (408, azure.TIMED_OUT),
    }
    if name not in plain:
        return None
    status, body = plain[name]
    return azure_json(call, body, status)


def _page(call: Call, status: int, title: bytes) -> Reply:
    headers = gitlab_headers(call, "text/html; charset=utf-8")
    return Reply(status, headers, _HTML % (title, title))


def _gitlab(fault: Fault, call: Call) -> Reply | None:
    name = fault.fault
    if name == "status_429":
        limit: Headers = (
            ("RateLimit-Limit", "300"),
            ("RateLimit-Observed", "301"),
            ("RateLimit-Remaining", "0"),
            ("RateLimit-Name", "throttle_authenticated_api"),
        )
        wait = math.ceil(fault.retry_after or 0)
        if fault.retry_after is not None:
            limit = (*limit, ("RateLimit-Reset", str(int(call.now) + wait)))
            limit = (*limit, ("Retry-After", str(wait)))
        return Reply(429, (*gitlab_headers(call, "text/plain"), *limit), b"Retry later\n")
    if name == "html_502":
        return _page(call, 502, b"GitLab is not responding (502)")
    if name == "html_200":
        return _page(call, 200, b"Sign in to continue")
    if name == "garbage_200":
        return gitlab_json(call, ["this", "is", "no", "user"])
    if name == "redirect_302":
        location = ("Location", "http://elsewhere.invalid/users/sign_in")
        return Reply(302, (*gitlab_headers(call, "text/html"), location), b"")
    plain = {
        "status_401": (401, "401 Unauthorized"),
        "status_500": (500, "500 Internal Server Error"),
        "status_503": (503, "503 Service Unavailable"),
    }
    if name not in plain:
        return None
    status, message = plain[name]
    return gitlab_json(call, {"message": message}, status)


_FORMS: Mapping[str, tuple[Callable[[Fault, Call], Reply | None], Callable[[Call, str], Headers]]]
_FORMS = MappingProxyType(
    {
        "openai": (_openai, openai_headers),
        "azure": (_azure, azure_headers),
        "azure_secondary": (_azure, azure_headers),
        "gitlab": (_gitlab, gitlab_headers),
    }
)


def fault_reply(fault: Fault, call: Call) -> Reply | None:
    """
    :param fault: a fault that strikes the call.
    :param call: what was asked.
    :return: the answer that the fault is, in the form of the call's role; None for a fault that
        changes an answer or the way it is sent.
    """
    form, headers = _FORMS[call.role]
    if fault.fault == "status":
        text = isinstance(fault.body, str)
        body = fault.body.encode() if text else write_json(fault.body)
        return Reply(fault.status, (*headers(call, fault.content_type), *fault.headers), body)
    return form(fault, call)
