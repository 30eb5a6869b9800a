"""Chat completions and legacy completions: requests in, answers and their bodies out.

Shapes: the API reference's "Create chat completion", "The chat completion chunk object" and
"Create completion".

Pure: imports nothing of Twisted.
"""

from __future__ import annotations

import re

from attrs import field, frozen

from gptproxy.sandbox.answers import answer_text
from gptproxy.sandbox.messages import JsonObject, Refusal, write_json
from gptproxy.sandbox.models import Model
from gptproxy.sandbox.tools import ToolCall, wanted_tool

__all__ = [
    "PIECE",
    "Answer",
    "Choice",
    "chat_answer",
    "completion_body",
    "text_answer",
    "tool_object",
]

_ROLES = frozenset({"developer", "system", "user", "assistant", "tool", "function"})
_CHOICES = 128  # of the API reference: the greatest n
_BYTES_PER_TOKEN = 4  # the usual mean of English text
#: What one chunk of a stream carries, and what counts as one token.
PIECE = re.compile(r"\s*\S+|\s+")


@frozen
class Choice:
    """One of the answers to a request.

    :param pieces: its text as a stream would carry it; each piece counts as one token.
    :param tool: the call it makes instead of text.
    :param finish: why it ends: stop, length, tool_calls or content_filter.
    """

    index: int
    pieces: tuple[str, ...]
    tool: ToolCall | None
    finish: str


@frozen
class Answer:
    """Everything that a body or a stream is written from.

    :param chat: a chat completion, or else a legacy one.
    :param stream: the caller asked for a stream.
    :param usage_wanted: ``stream_options.include_usage``.
    :param padded: deltas carry ``obfuscation``, unless the caller declined it.
    """

    ident: str
    created: int
    model: str
    chat: bool
    choices: tuple[Choice, ...]
    prompt_tokens: int
    stream: bool = False
    usage_wanted: bool = False
    padded: bool = field(default=True)

    def usage(self) -> JsonObject:
        """:return: the usage object."""
        made = 0
        for choice in self.choices:
            tool = [] if choice.tool is None else PIECE.findall(choice.tool.arguments)
            made += len(choice.pieces) + len(tool)
        usage: JsonObject = {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": made,
            "total_tokens": self.prompt_tokens + made,
        }
        if self.chat:
            usage["prompt_tokens_details"] = {"cached_tokens": 0, "audio_tokens": 0}
            usage["completion_tokens_details"] = {
                "reasoning_tokens": 0,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            }
        return usage


def _number(request: JsonObject, name: str, default: int | None, greatest: int) -> int | None:
    value = request.get(name)
    if value is None:
        return default
    if type(value) is not int or not 1 <= value <= greatest:
        raise Refusal(
            400,
            f"Invalid value for '{name}': expected an integer from 1 to {greatest}.",
            param=name,
            code="invalid_value",
        )
    return value


def _messages(request: JsonObject) -> list[JsonObject]:
    messages = request.get("messages")
    if messages is None:
        raise Refusal(
            400,
            "Missing required parameter: 'messages'.",
            param="messages",
            code="missing_required_parameter",
        )
    if not isinstance(messages, list) or not messages:
        raise Refusal(
            400,
            "Invalid type for 'messages': expected an array with at least one message.",
            param="messages",
            code="invalid_type",
        )
    for index, message in enumerate(messages):
        role = message.get("role") if isinstance(message, dict) else None
        if not isinstance(role, str) or role not in _ROLES:
            raise Refusal(
                400,
                f"Invalid value for 'messages[{index}]': its 'role' must be one of "
                f"{', '.join(sorted(_ROLES))}.",
                param=f"messages[{index}].role",
                code="invalid_value",
            )
    _check_tool_order(messages)
    return messages


def _check_tool_order(messages: list[JsonObject]) -> None:
    """Messages of role tool must follow the call that they answer, with nothing between."""
    awaited: set[str] = set()
    for index, message in enumerate(messages):
        if message["role"] == "tool":
            answered = str(message.get("tool_call_id"))
            if answered not in awaited:
                raise Refusal(
                    400,
                    "Invalid parameter: messages with role 'tool' must be a response to a "
                    "preceding message with 'tool_calls'.",
                    param=f"messages[{index}].role",
                )
            awaited.discard(answered)
            continue
        if awaited:
            break
        calls = message.get("tool_calls")
        listed = calls if isinstance(calls, list) else []
        awaited = {str(call.get("id")) for call in listed if isinstance(call, dict)}
    if awaited:
        raise Refusal(
            400,
            "An assistant message with 'tool_calls' must be followed by tool messages responding "
            "to each 'tool_call_id'.",
            param="messages",
        )


def _options(request: JsonObject) -> dict[str, bool]:
    options = request.get("stream_options")
    stream = request.get("stream") is True
    if options is None:
        return {"stream": stream}
    if not stream or not isinstance(options, dict):
        raise Refusal(
            400,
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
            param="stream_options",
        )
    return {
        "stream": stream,
        "usage_wanted": options.get("include_usage") is True,
        "padded": options.get("include_obfuscation", True) is not False,
    }


def _tokens(value: object) -> int:
    return -(-len(write_json(value)) // _BYTES_PER_TOKEN)


def chat_answer(request: JsonObject, model: Model, *, ident: str, created: int) -> Answer:
    """
    :param request: the body of POST /chat/completions.
    :param model: the model that it names.
    :param ident: what distinguishes the answer.
    :param created: seconds since 1970.
    :return: the answer.
    :raise Refusal: 400, where the request cannot be answered.
    """
    messages = _messages(request)
    if model.reasons and "max_tokens" in request:
        raise Refusal(
            400,
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use "
            "'max_completion_tokens' instead.",
            param="max_tokens",
            code="unsupported_parameter",
        )
    limit = _number(request, "max_completion_tokens", None, 1_000_000)
    limit = _number(request, "max_tokens", limit, 1_000_000)
    tool = wanted_tool(request, messages)
    text = answer_text(messages, str(request.get("model") or model.name))
    shape = request.get("response_format")
    if isinstance(shape, dict) and shape.get("type") == "json_object":
        text = write_json({"answer": text}).decode()
    choices = _choices(request, text, limit, tool)
    return Answer(
        f"chatcmpl-{ident}",
        created,
        model.snapshot,
        True,
        choices,
        _tokens(messages),
        **_options(request),
    )


def text_answer(request: JsonObject, model: Model, *, ident: str, created: int) -> Answer:
    """As `chat_answer`, for POST /completions with its ``prompt``: a string or strings."""
    prompt = request.get("prompt", "<|endoftext|>")
    prompts = [prompt] if isinstance(prompt, str) else prompt
    if not isinstance(prompts, list) or not all(isinstance(one, str) for one in prompts):
        raise Refusal(400, "Invalid type for 'prompt': expected a string.", param="prompt")
    said = [{"role": "user", "content": "\n".join(prompts)}]
    text = answer_text(said, str(request.get("model") or model.name))
    choices = _choices(request, text, _number(request, "max_tokens", None, 1_000_000), None)
    return Answer(
        f"cmpl-{ident}",
        created,
        model.snapshot,
        False,
        choices,
        _tokens(prompt),
        **_options(request),
    )


def _choices(
    request: JsonObject, text: str, limit: int | None, tool: ToolCall | None
) -> tuple[Choice, ...]:
    count = _number(request, "n", 1, _CHOICES) or 1
    choices = []
    for index in range(count):
        said = text if index == 0 else f"(Answer {index + 1}.) {text}"
        pieces = tuple(PIECE.findall(said))
        if tool is not None:
            choices.append(Choice(index, (), tool, "tool_calls"))
        elif limit is not None and len(pieces) > limit:
            choices.append(Choice(index, pieces[:limit], None, "length"))
        else:
            choices.append(Choice(index, pieces, None, "stop"))
    return tuple(choices)


def tool_object(answer: Answer, choice: Choice, tool: ToolCall, arguments: str) -> JsonObject:
    """
    :param arguments: the arguments as far as this object carries them.
    :return: one entry of ``tool_calls``.
    """
    return {
        "id": f"call_{answer.ident.rpartition('-')[2][:20]}{choice.index:04}",
        "type": "function",
        "function": {"name": tool.name, "arguments": arguments},
    }


def completion_body(answer: Answer) -> JsonObject:
    """
    :param answer: what is to be said.
    :return: the body of an answer that is not streamed.
    """
    choices: list[JsonObject] = []
    for choice in answer.choices:
        said: JsonObject = {"index": choice.index, "logprobs": None, "finish_reason": choice.finish}
        text = "".join(choice.pieces)
        if answer.chat:
            content = None if choice.tool is not None else text
            message: JsonObject = {"role": "assistant", "content": content, "refusal": None}
            if choice.tool is not None:
                call = tool_object(answer, choice, choice.tool, choice.tool.arguments)
                message["tool_calls"] = [call]
            message["annotations"] = []
            said["message"] = message
        else:
            said["text"] = text
        choices.append(said)
    return {
        "id": answer.ident,
        "object": "chat.completion" if answer.chat else "text_completion",
        "created": answer.created,
        "model": answer.model,
        "choices": choices,
        "usage": answer.usage(),
        "system_fingerprint": "fp_5a5a5a5a5a",
    }
