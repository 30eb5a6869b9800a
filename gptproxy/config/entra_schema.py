"""
Tokens of Microsoft Entra ID in the place of Azure's key: the keys of ``[upstream.entra]``.

Pure but for the files that secrets are fetched from; imports nothing of gptproxy but this room's own modules, and
nothing of Twisted.
"""

from __future__ import annotations

from gptproxy.config.addresses import Address, guarded_address, web_address
from gptproxy.config.checks import file_path, flag, free_text, matching
from gptproxy.config.fields import Key, Place, Refused, Section, Table
from gptproxy.config.secrets import LONGEST_KEY, secret
from gptproxy.config.upstream_settings import EntraSettings

__all__ = ["ENTRA"]

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
    return EntraSettings(**texts)  # type: ignore[arg-type]  # checked one by one


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
