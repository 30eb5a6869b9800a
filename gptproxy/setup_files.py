"""
What ``gptproxy setup`` writes: a piece of configuration; and how it gets onto the disk.

Imports nothing of gptproxy, and nothing of Twisted.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from attrs import field, frozen

__all__ = ["Upstream", "configuration_text", "replace_file"]


@frozen
class Upstream:
    """
    One upstream as it was asked for.

    :param name: for the log.
    :param kind: "azure" or "openai".
    :param where: ``resource`` or ``url`` and its value; none for OpenAI itself.
    :param api_key: the key; "" for none.
    :param deployments: model names to the upstream's own.
    """

    name: str
    kind: str
    where: Mapping[str, str]
    api_key: str = field(repr=False)
    deployments: Mapping[str, str]

    def document(self) -> dict[str, object]:
        """:return: as the configuration has it."""
        key = {"api_key": self.api_key} if self.api_key else {}
        names = {"deployments": dict(self.deployments)} if self.deployments else {}
        return {"name": self.name, "kind": self.kind, **self.where, **key, **names}


def configuration_text(before: str, gitlab: str, upstream: Upstream) -> str:
    """
    :param before: the file as it is.
    :param gitlab: GitLab's address.
    :param upstream: the first upstream.
    :return: the file with both at its end: there, whatever is uncommented above stays in the section where it stands.
    """
    lines = ["# --- Written by gptproxy setup ---", "", "[gitlab]", f"url = {_quoted(gitlab)}", ""]
    lines += ["[[upstream]]"]
    document = upstream.document()
    names = document.pop("deployments", {})
    lines += [f"{key} = {_quoted(str(value))}" for key, value in document.items()]
    if isinstance(names, dict) and names:
        lines.append("[upstream.deployments]")
        lines += [f"{_quoted(model)} = {_quoted(own)}" for model, own in names.items()]
    above = before.rstrip("\n")
    return "\n".join([*([above, ""] if above else []), *lines, ""])


def _quoted(text: str) -> str:
    """:return: TOML's basic string, whose escapes are JSON's (TOML 1.0, "String")."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def replace_file(path: Path, text: str, mode: int) -> None:
    """
    Write a file whole or not at all.

    :param path: the file; one that is there keeps its mode, owner and group, and a link stays one.
    :param text: what it will have.
    :param mode: of a new one.
    :raise OSError: it cannot be written.
    """
    path = path.resolve()
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            try:
                found = path.stat()
            except FileNotFoundError:
                os.fchmod(file.fileno(), mode)
            else:
                os.fchown(file.fileno(), found.st_uid, found.st_gid)
                os.fchmod(file.fileno(), found.st_mode & 0o7777)
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise
