"""Tells ``twistd`` where gptproxy's options and service are; nothing is imported until they are asked for."""

from twisted.application.service import ServiceMaker

__all__ = ["gptproxy"]

gptproxy = ServiceMaker(
    "gptproxy",
    "gptproxy.tap",
    "A gateway between an organisation's OpenAI clients and OpenAI or Azure OpenAI.",
    "gptproxy",
)
