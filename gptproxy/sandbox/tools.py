"""Whether a chat request wants a tool to be called, and with which arguments.

Pure: imports nothing of Twisted.
"""

from __future__ import annotations

import re

from attrs import frozen

from gptproxy.sandbox.answers import last_user_text
from gptproxy.sandbox.messages import JsonObject, Refusal, write_json

__all__ = ["ToolCall", "sample", "wanted_tool"]

_ASKS = re.compile(r"\b(?:call|use|run|invoke)\s+(?:the|a|an|your|this|that)\s+(?:\w+\s+)?tool\b")
_DEPTH = 8  # levels of a schema that are followed; one that refers to itself has no end


@frozen
class ToolCall:
    """The function to be called, and its arguments as JSON text."""

    name: str
    arguments: str


def sample(schema: object, said: str, depth: int = _DEPTH) -> object:
    """
    :param schema: a JSON Schema; only its plain keywords are followed.
    :param said: the text that strings are filled with.
    :param depth: how many levels may follow.
    :return: a value of the schema's type, the same for the same input.
    """
    if not isinstance(schema, dict):
        return said
    choices = schema.get("enum")
    if isinstance(choices, list) and choices:
        return choices[0]
    named = schema.get("type")
    kind = str(named[0] if isinstance(named, list) and named else named)
    if kind == "object":
        properties = schema.get("properties")
        if depth <= 0 or not isinstance(properties, dict):
            return {}
        wanted = schema.get("required")
        names = wanted if isinstance(wanted, list) else list(properties)
        return {str(name): sample(properties.get(name), said, depth - 1) for name in names}
    plain: dict[str, object] = {
        "integer": 1,
        "number": 1.5,
        "boolean": True,
        "array": [],
        "null": None,
    }
    return plain.get(kind, said)


def wanted_tool(request: JsonObject, messages: list[JsonObject]) -> ToolCall | None:
    """
    :param request: the body of a chat request.
    :param messages: its messages.
    :return: the call that the answer shall make: the one that ``tool_choice`` names or requires;
        else one that the last message of the user asks for by "call the tool" or by its name.
    :raise Refusal: 400, where ``tool_choice`` does not fit ``tools``.
    """
    listed = request.get("tools")
    tools = listed if isinstance(listed, list) else []
    offered = [tool.get("function") for tool in tools if isinstance(tool, dict)]
    functions = {
        function["name"]: function
        for function in offered
        if isinstance(function, dict) and isinstance(function.get("name"), str)
    }
    choice = request.get("tool_choice", "auto")
    if not functions:
        if choice != "auto":
            raise Refusal(
                400,
                "Invalid value for 'tool_choice': 'tool_choice' is only allowed when 'tools' are "
                "specified.",
                param="tool_choice",
            )
        return None
    said = last_user_text(messages)
    name: str | None = None
    if isinstance(choice, dict):
        named = choice.get("function")
        name = named.get("name") if isinstance(named, dict) else None
        if not isinstance(name, str) or name not in functions:
            raise Refusal(
                400,
                f"Invalid value for 'tool_choice': no function named {name!r} was specified in "
                "the 'tools' parameter.",
                param="tool_choice",
            )
    elif choice == "required":
        name = next(iter(functions))
    elif choice == "auto" and messages[-1].get("role") == "user":
        mentioned = (one for one in functions if re.search(rf"\b{re.escape(one)}\b", said))
        asked = next(iter(functions)) if _ASKS.search(said.lower()) else None
        name = next(mentioned, asked)
    if name is None:
        return None
    value = sample(functions[name].get("parameters", {"type": "object"}), " ".join(said.split()))
    return ToolCall(name, write_json(value).decode())
