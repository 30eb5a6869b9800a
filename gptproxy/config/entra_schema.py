"""
Tokens of Microsoft Entra ID in the place of Azure's key: the keys of ``[upstream.entra]``.

Pure but for the files that secrets are fetched from; imports nothing of gptproxy but this room's own modules, and
nothing of Twisted.
"""

from __future__ import annotations

from gptproxy.config.addresses import Address, guarded_address, web_address
from gptproxy.config.checks import file_path, flag, free_text, matching
from gptproxy.config.fields import Key, Place, Refused, Section, Table
from gptproxy.config.secrets import LONGEST_KEY, checked_secret, secret
from gptproxy.config.upstream_settings import EntraSettings

__all__ = ["ENTRA"]

# What App Service, Functions and Container Apps set for an app that has an identity. Service Fabric sets the third as
# well and has a form of its own; Azure Arc has no header.
_ENDPOINT, _HEADER, _FABRIC = "IDENTITY_ENDPOINT", "IDENTITY_HEADER", "IDENTITY_SERVER_THUMBPRINT"

_WAYS = ("client_secret", "token_file", "managed")

_directory = matching(r"[A-Za-z0-9.-]{1,128}", "a directory's id or domain")
_client = matching(r"[A-Za-z0-9-]{1,64}", "an application's id")


def _scope(value: object, place: Place) -> str:
    """A check: an address that ends in /.default, which is what an application may ask for by itself."""
    text = free_text(value, place)
    if (
        text.startswith("https://")
        and text.endswith("/.default")
        and text.isascii()
        and " " not in text
    ):
        return text
    raise Refused('must be like "https://cognitiveservices.azure.com/.default"')


def _one_way(table: Table, place: Place) -> None:
    written = [name for name in _WAYS if name in table.written]
    if len(written) != 1 or table.values.get("managed") is False:
        place.note("must have exactly one of client_secret, token_file and managed = true")
    elif written != ["managed"]:
        for name in ("tenant", "client_id"):
            if name not in table.written:
                place.at(name).note("missing; only a managed identity does without")


def _make(values: dict[str, object], place: Place) -> EntraSettings:
    texts = {
        name: str(value) if isinstance(value, Address) else value for name, value in values.items()
    }
    if values.get("managed") and "managed_identity_url" not in values:
        texts |= _of_the_app(place)
    return EntraSettings(**texts)  # type: ignore[arg-type]  # checked one by one


def _of_the_app(place: Place) -> dict[str, object]:
    """
    :return: where an app's own tokens come from, as its environment says ("How to use managed identities for App
        Service and Azure Functions", REST endpoint reference); empty where it says nothing: a virtual machine's.
    """
    endpoint, header = place.environ.get(_ENDPOINT), place.environ.get(_HEADER)
    if not endpoint or not header or place.environ.get(_FABRIC):
        return {}
    try:
        return {
            "managed_identity_url": str(web_address(endpoint, place)),
            "identity_header": checked_secret(
                header, LONGEST_KEY, subject=f"the environment variable {_HEADER}"
            ),
        }
    except Refused as refused:
        told = str(refused)
        place.at("managed").note(told if _HEADER in told else f"{_ENDPOINT} {told}")
        return {}


ENTRA = Section(
    keys=(
        Key("tenant", _directory),
        Key("client_id", _client),
        Key("client_secret", secret(LONGEST_KEY)),
        Key("token_file", file_path),
        Key("managed", flag),
        Key("scope", _scope),
        Key("authority", guarded_address),
        Key("managed_identity_url", web_address),
    ),
    make=_make,
    rules=(_one_way,),
)
