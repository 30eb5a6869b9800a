"""
An Azure resource, its deployments and its key in one text, as Haigpt has it; and Azure's names.

Pure: imports nothing of gptproxy but the settings' ``Secret``, and nothing of Twisted.

The grammar, whole text, ASCII, at most 8192 characters::

    RESOURCE:MODEL|DEPLOYMENT,MODEL|DEPLOYMENT,...:KEY[:VERSION]

1. The resource ends at the first ``:``. It becomes part of a host name, so it is one DNS label.
2. A model's name may hold ``:`` (fine-tunes do: ``ft:gpt-4o:org::id``), so the rest is read from
   the right.
3. A last part that reads like an API version is the version; a key never reads like one.
4. Splits and bounded patterns only: the time is linear in the text, which any caller may write.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from attrs import frozen

from gptproxy.config.secret import Secret

__all__ = [
    "API_VERSION",
    "DEFAULT_API_VERSION",
    "DEPLOYMENT",
    "LONGEST_AZURE_KEY",
    "RESOURCE",
    "AzureKey",
    "MalformedAzureKey",
    "azure_url",
    "parse_azure_key",
]

#: An Azure OpenAI resource's name: a DNS label.
RESOURCE = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
#: A deployment's name: it becomes a segment of the path, so dots alone are no name.
DEPLOYMENT = r"(?!\.{1,2}\Z)[A-Za-z0-9._-]{1,64}"
#: ``api-version``: a date, or one of the names of the v1 API.
API_VERSION = r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:-preview)?|v1|preview|latest"
#: What Haigpt takes where none is written.
DEFAULT_API_VERSION = "2023-05-15"

#: In characters: a hundred deployments and more, an eighth of what a request's headers may be.
LONGEST_AZURE_KEY = 8192

_RESOURCE = re.compile(RESOURCE)
_DEPLOYMENT = re.compile(DEPLOYMENT)
_API_VERSION = re.compile(API_VERSION)
_MODEL = re.compile(r"[A-Za-z0-9._:/-]{1,256}")
_KEY = re.compile(r"[!-+\--9;-{}~]+")  # visible ASCII but "," ":" "|", which part the text


class MalformedAzureKey(ValueError):
    """The text does not follow the grammar. The message says where, and holds nothing of it."""


@frozen
class AzureKey:
    """
    What a caller or an operator wrote about an Azure resource.

    :param resource: in lower case.
    :param deployments: OpenAI model name to deployment, in the order written, at least one.
    :param key: the resource's key.
    :param api_version: as written, or the default.
    """

    resource: str
    deployments: Mapping[str, str]
    key: Secret
    api_version: str = DEFAULT_API_VERSION

    @property
    def url(self) -> str:
        """:return: the resource's base address without a trailing slash."""
        return azure_url(self.resource)


def azure_url(resource: str) -> str:
    """
    :param resource: a name that matches :data:`RESOURCE`.
    :return: the base address of an Azure OpenAI resource, without a trailing slash.
    """
    return f"https://{resource.lower()}.openai.azure.com"


def parse_azure_key(text: str) -> AzureKey:
    """
    Read ``RESOURCE:MODEL|DEPLOYMENT,...:KEY[:VERSION]``.

    :param text: as it came, without ``Bearer`` and without space around it.
    :return: the parts, checked.
    :raise MalformedAzureKey: for anything else; the message is safe to show.
    """
    if len(text) > LONGEST_AZURE_KEY:
        raise MalformedAzureKey(f"longer than {LONGEST_AZURE_KEY} characters")
    resource, _, rest = text.partition(":")
    if not _RESOURCE.fullmatch(resource):
        raise MalformedAzureKey("the resource's name (before the first colon) is not one")
    middle, _, key = rest.rpartition(":")
    version = DEFAULT_API_VERSION
    if _API_VERSION.fullmatch(key):
        version = key
        middle, _, key = middle.rpartition(":")
    if not _KEY.fullmatch(key):
        raise MalformedAzureKey("the key is missing, or has a character that no key has")
    deployments: dict[str, str] = {}
    for number, pair in enumerate(middle.split(","), 1):
        model, _, deployment = pair.partition("|")
        if not _MODEL.fullmatch(model) or not _DEPLOYMENT.fullmatch(deployment):
            raise MalformedAzureKey(f"deployment {number} is not MODEL|DEPLOYMENT")
        if model in deployments:
            raise MalformedAzureKey(f"deployment {number} names a model a second time")
        deployments[model] = deployment
    return AzureKey(resource.lower(), MappingProxyType(deployments), Secret(key), version)
