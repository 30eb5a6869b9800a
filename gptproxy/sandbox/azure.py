"""What Azure OpenAI adds to OpenAI's answers: content filter results, and its own error bodies.

The shapes are those of Azure's "Content filtering" and "Content streaming" pages and of bodies
seen in its users' reports; the wire says ``innererror.content_filter_result`` where the
specification says ``inner_error.content_filter_results``.

Pure: imports nothing of Twisted.
"""

from __future__ import annotations

from gptproxy.sandbox.messages import JsonObject

__all__ = [
    "DEPLOYMENT_NOT_FOUND",
    "RESOURCE_BLOCKED",
    "RESOURCE_NOT_FOUND",
    "TIMED_OUT",
    "UNAUTHORIZED",
    "asynchronous_chunks",
    "azure_body",
    "azure_chunks",
    "error",
    "filtered_body",
    "filtered_chunks",
    "image_blocked",
    "prompt_blocked",
    "rate_limited",
]


def error(code: str, message: str) -> JsonObject:
    """:return: the error body of Azure's front end: a code that is always a string, a message."""
    return {"error": {"code": code, "message": message}}


UNAUTHORIZED = error(
    "401",
    "Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide a "
    "valid key for an active subscription and use a correct regional API endpoint for your "
    "resource.",
)
RESOURCE_NOT_FOUND = error("404", "Resource not found")
DEPLOYMENT_NOT_FOUND = error(
    "DeploymentNotFound",
    "The API deployment for this resource does not exist. If you created the deployment within "
    "the last 5 minutes, please wait a moment and try again.",
)
RESOURCE_BLOCKED = error(
    "Forbidden",
    "Your resource has been temporarily blocked because we detected behavior that may violate our "
    "content policy. Please contact support.",
)
TIMED_OUT = error("Timeout", "The operation was timeout.")

#: The filter that could not run; it is not a verdict.
_NOT_RUN: JsonObject = {
    "error": {"code": "content_filter_error", "message": "The contents are not filtered"}
}


def _severities(blocked: bool) -> JsonObject:
    safe = {"filtered": False, "severity": "safe"}
    return {
        "hate": safe,
        "self_harm": safe,
        "sexual": safe,
        "violence": {"filtered": True, "severity": "medium"} if blocked else safe,
    }


def _prompt_results(blocked: bool = False) -> JsonObject:
    return {**_severities(blocked), "jailbreak": {"filtered": False, "detected": False}}


def rate_limited(seconds: float, operation: str, version: str) -> JsonObject:
    """
    :param seconds: after which the caller may try again.
    :param operation: Azure's name of it, such as ChatCompletions_Create.
    :param version: the api-version of the call.
    :return: the body of a 429; its code is the string "429".
    """
    return error(
        "429",
        f"Requests to the {operation} Operation under Azure OpenAI API version {version} have "
        "exceeded token rate limit of your current OpenAI S0 pricing tier. Please retry after "
        f"{seconds:g} seconds. Please go here: https://aka.ms/oai/quotaincrease if you would like "
        "to further increase the default rate limit.",
    )


def prompt_blocked(spelling: str = "wire") -> JsonObject:
    """
    :param spelling: ``wire`` as observed, ``spec`` as specified, ``bare`` without inner error.
    :return: the body of the 400 for a prompt that the filter intercepts, streamed or not.
    """
    block: JsonObject = {
        "message": "The response was filtered due to the prompt triggering Azure OpenAI's content "
        "management policy. Please modify your prompt and retry. To learn more about our content "
        "filtering policies please read our documentation: "
        "https://go.microsoft.com/fwlink/?linkid=2198766",
        "type": None,
        "param": "prompt",
        "code": "content_filter",
        "status": 400,
    }
    results = _prompt_results(blocked=True)
    code = "ResponsibleAIPolicyViolation"
    if spelling == "wire":
        block["innererror"] = {"code": code, "content_filter_result": results}
    elif spelling == "spec":
        block["inner_error"] = {"code": code, "content_filter_results": results}
    return {"error": block}


def image_blocked(created: int) -> JsonObject:
    """:return: the body of the 400 for an image prompt that the filter intercepts."""
    return {
        "created": created,
        "error": {
            "code": "contentFilter",
            "message": "Your task failed as a result of our safety system.",
        },
    }


def azure_body(body: JsonObject, *, ran: bool = True) -> JsonObject:
    """
    :param body: a completion in OpenAI's form.
    :param ran: False where the filter failed, which Azure reports on a 200.
    :return: the same in Azure's.
    """
    prompt = _prompt_results() if ran else _NOT_RUN
    results = _severities(False) if ran else _NOT_RUN
    choices = [
        {**choice, "content_filter_results": {} if choice["finish_reason"] == "tool_calls"
         else results}
        for choice in body["choices"]
    ]  # fmt: skip
    return {
        **body,
        "choices": choices,
        "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": prompt}],
    }


def filtered_body(body: JsonObject) -> JsonObject:
    """
    :param body: a completion in OpenAI's form.
    :return: the same with its first choice taken by the filter: no text, a verdict.
    """
    azure = azure_body(body)
    first: JsonObject = {**azure["choices"][0], "finish_reason": "content_filter"}
    first["content_filter_results"] = _severities(True)
    if "message" in first:
        first["message"] = {"role": "assistant", "content": ""}
    else:
        first["text"] = ""
    return {**azure, "choices": [first, *azure["choices"][1:]]}


def _first_chunk(usage: JsonObject, *, ran: bool, old: bool) -> JsonObject:
    results = _prompt_results() if ran else _NOT_RUN
    key = "prompt_annotations" if old else "prompt_filter_results"
    found = [{"prompt_index": 0, "content_filter_results": results}]
    return {"id": "", "object": "", "created": 0, "model": "", key: found, "choices": [], **usage}


def _usage_key(chunks: list[JsonObject]) -> JsonObject:
    return {"usage": None} if "usage" in chunks[0] else {}


def _is_content(choice: JsonObject) -> bool:
    return bool(choice.get("delta", {}).get("content") or choice.get("text"))


def _with_results(chunk: JsonObject, ran: bool) -> JsonObject:
    results = _severities(False) if ran else _NOT_RUN
    choices = [
        {**choice, "content_filter_results": results if _is_content(choice) else {}}
        for choice in chunk["choices"]
    ]
    return {**chunk, "choices": choices}


def azure_chunks(
    chunks: list[JsonObject], *, ran: bool = True, old: bool = False
) -> list[JsonObject]:
    """
    :param chunks: a stream in OpenAI's form, not empty.
    :param ran: False where the filter failed.
    :param old: the first chunk says ``prompt_annotations``, as older api-versions do.
    :return: the same in Azure's form: first a chunk without choices, then chunks with results.
    """
    first = _first_chunk(_usage_key(chunks), ran=ran, old=old)
    return [first, *(_with_results(chunk, ran) for chunk in chunks)]


def filtered_chunks(chunks: list[JsonObject], contents: int = 0) -> list[JsonObject]:
    """
    :param chunks: a stream in OpenAI's form.
    :param contents: how many chunks with text pass before the filter strikes.
    :return: Azure's stream that ends with ``finish_reason: content_filter`` in every choice.
    """
    kept: list[JsonObject] = [_first_chunk(_usage_key(chunks), ran=True, old=False)]
    indices: dict[int, JsonObject] = {}
    for chunk in chunks:
        choice = chunk["choices"][0] if chunk["choices"] else None
        if choice is None:
            continue
        indices.setdefault(choice["index"], chunk)
        if choice["finish_reason"] is not None:
            continue
        if _is_content(choice):
            contents -= 1
            if contents < 0:
                continue
        kept.append(_with_results(chunk, True))
    for index, chunk in indices.items():
        said: JsonObject = {"text": ""} if "text" in chunk["choices"][0] else {"delta": {}}
        end: JsonObject = {"index": index, **said, "finish_reason": "content_filter"}
        end["content_filter_results"] = _severities(True)
        kept.append({**chunk, "choices": [end]})
    return kept + [chunk for chunk in chunks if not chunk["choices"]]


def asynchronous_chunks(chunks: list[JsonObject], contents: int, blocked: bool) -> list[JsonObject]:
    """
    The asynchronous filter: text comes unmoderated, and its results in chunks of their own, with
    a choice that has no delta; results come after the ``stop`` chunk too.

    :param chunks: a stream in OpenAI's form.
    :param contents: how many chunks with text come before a result.
    :param blocked: the first result is a violation, which ends the stream.
    :return: Azure's stream.
    """
    usage = _usage_key(chunks)
    stream = [_first_chunk(usage, ran=True, old=False)]
    start = offset = seen = 0
    ends = []
    for chunk in chunks:
        if not chunk["choices"]:
            ends.append(chunk)
            continue
        choice = chunk["choices"][0]
        stream.append(chunk)
        if _is_content(choice):
            offset += len(choice["text"] if "text" in choice else choice["delta"]["content"])
            seen += 1
            if seen % max(contents, 1) == 0:
                stream.append(_late(choice["index"], start, offset, blocked, usage))
                start = offset
                if blocked:
                    return stream
    stream.append(_late(0, start, offset, False, usage))
    return stream + ends


def _late(index: int, start: int, end: int, blocked: bool, usage: JsonObject) -> JsonObject:
    choice: JsonObject = {
        "index": index,
        "finish_reason": "content_filter" if blocked else None,
        "content_filter_results": _severities(blocked),
        "content_filter_raw": [],
        "content_filter_offsets": {
            "check_offset": start,
            "start_offset": start,
            "end_offset": end,
        },
    }
    return {"id": "", "object": "", "created": 0, "model": "", "choices": [choice], **usage}
