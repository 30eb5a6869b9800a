"""
The models that a call uses beside the one it names: its tools', and those that some servers alone would see.

May import the access room and this one. Of the tools that the makers run, the one that makes images has a model
(https://platform.openai.com/docs/guides/tools-image-generation).
"""

from __future__ import annotations

import json
from typing import Final

from gptproxy.access import Caller, model_not_allowed
from gptproxy.api.json_call import WHOLE_BYTES, JSONCall
from gptproxy.api.objects import refused_reference

__all__ = ["IMAGE_MODEL", "check_tools"]

IMAGE_MODEL: Final = "gpt-image-1"
"""What makes the images where the tool does not say."""

_IMAGES: Final = "image_generation"


class _Pairs(list[tuple[str, object]]):
    """An object's members, each as often as it is written."""


def check_tools(caller: Caller, call: JSONCall) -> None:
    """
    :param caller: who may use some models only.
    :param call: what they ask.
    :raise Refusal: 403, where one of its tools uses another; 400, where that cannot be told.
    """
    for name in call.spans:
        # Servers written in Go (Ollama, LocalAI) read it as the model, and the last one counts
        # (https://pkg.go.dev/encoding/json#Unmarshal).
        if name != "model" and name.lower() == "model":
            raise refused_reference(name)
    span = call.spans.get("tools")
    if span is None:
        return
    try:
        if span.end - span.start > WHOLE_BYTES:
            raise refused_reference("tools")
        tools = json.loads(call.body[span.start : span.end], object_pairs_hook=_Pairs)
    except (ValueError, RecursionError) as error:
        raise refused_reference("tools") from error
    for tool in tools if isinstance(tools, list) else []:
        if isinstance(tool, _Pairs) and ("type", _IMAGES) in tool:
            # Whichever of several a parser keeps.
            named = [
                IMAGE_MODEL if value is None else value for name, value in tool if name == "model"
            ]
            for model in named or [IMAGE_MODEL]:
                if not (isinstance(model, str) and caller.may_use(model)):
                    raise model_not_allowed(str(model))
