"""
Who is calling.

Pure: imports the configuration's values only.
"""

from __future__ import annotations

from typing import Literal

from attrs import frozen

from gptproxy.config import AzureKey

__all__ = ["Caller", "CallerKind"]

CallerKind = Literal["azure_key", "gitlab", "user_token"]


@frozen
class Caller:
    """
    Somebody who may use the gateway.

    :param kind: what the credential was.
    :param name: for the log: GitLab's user name, the user token's id, or the Azure resource. Never the credential.
    :param azure_key: the caller's own key in the pure proxy; None where the organisation's key is used.
    """

    kind: CallerKind
    name: str
    azure_key: AzureKey | None = None
