"""
Which configuration is used, and how its bytes become a document.

Reads files; imports nothing of gptproxy but this room's own modules, and nothing of Twisted.

The order: the file that the operator named; else ``/etc/gptproxy/gptproxy.toml`` where it exists;
else Haigpt's environment variables; else pure proxy, which has no key of its own to lose. A file
that exists is the configuration, even an empty one: there, callers reach Azure with their own keys
only where it says so.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from gptproxy.config.access_settings import AccessSettings
from gptproxy.config.errors import ConfigurationError, Problem
from gptproxy.config.file_reading import read_file
from gptproxy.config.operation_schema import tls_beside
from gptproxy.config.schema import settings_from
from gptproxy.config.seeds import (
    ENVIRONMENT_VARIABLES,
    is_haigpt,
    settings_from_environment,
    settings_from_haigpt,
)
from gptproxy.config.settings import Settings

__all__ = ["DEFAULT_PATH", "LONGEST_FILE", "load_settings"]

DEFAULT_PATH = Path("/etc/gptproxy/gptproxy.toml")

#: In bytes. Prompts included, a real configuration stays far below; what is larger is no such file.
LONGEST_FILE = 1_048_576


def load_settings(
    path: Path | None,
    *,
    environ: Mapping[str, str],
    default_path: Path = DEFAULT_PATH,
    working_directory: Path,
) -> Settings:
    """
    Find the configuration, read it and check it.

    :param path: the file that the operator named, or None.
    :param environ: environment variables.
    :param default_path: the file that is read where it exists and none was named.
    :param working_directory: absolute; where a relative ``path`` starts, and where ``cert.pem`` and
        ``key.pem`` are looked for when no file is read.
    :return: the settings.
    :raise ConfigurationError: with every problem found.
    """
    if path is None and _exists(default_path):
        path = default_path
    if path is not None:
        return _load_file(path, environ, working_directory)
    if any(variable in environ for variable in ENVIRONMENT_VARIABLES):
        return settings_from_environment(environ, working_directory)
    return Settings(
        source="no configuration",
        tls=tls_beside(working_directory),
        access=AccessSettings(pure_proxy=True),
    )


def _exists(path: Path) -> bool:
    """:return: False only where that is certain; a link to nowhere, say, is to be reported."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def _load_file(path: Path, environ: Mapping[str, str], working_directory: Path) -> Settings:
    source = str(path)
    absolute = working_directory / path
    text = _read(absolute, source)
    is_json = path.suffix.lower() == ".json"
    document = _parse_json(text, source) if is_json else _parse_toml(text, source)
    read = settings_from_haigpt if is_json and is_haigpt(document) else settings_from
    return read(document, source=source, directory=absolute.parent, environ=environ)


def _fail(source: str, message: str) -> NoReturn:
    # "from None": what the parsers raise holds the whole file, secrets included.
    raise ConfigurationError([Problem(source, "", message)]) from None


def _read(path: Path, source: str) -> str:
    try:
        content = read_file(path, LONGEST_FILE + 1)
    except OSError as error:
        _fail(source, f"cannot be read: {error.strerror}")
    if len(content) > LONGEST_FILE:
        _fail(source, f"is larger than {LONGEST_FILE} bytes")
    try:
        return content.decode("utf-8-sig")  # editors on Windows begin a file with the mark
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        _fail(source, f"is not UTF-8 (at line {line})")


def _parse_toml(text: str, source: str) -> Mapping[str, object]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        _fail(source, f"is not TOML: {error.args[0]}")
    except (ValueError, RecursionError):
        _fail(source, "is not TOML that can be used: a number too long, or nested too deeply")


class _DuplicateKeyError(ValueError):
    """A key stands twice in one JSON object."""


def _parse_json(text: str, source: str) -> Mapping[str, object]:
    try:
        document: object = (
            json.loads(text, object_pairs_hook=_without_duplicates) if text.strip() else {}
        )
    except json.JSONDecodeError as error:
        _fail(source, f"is not JSON: {error.msg} (at line {error.lineno}, column {error.colno})")
    except _DuplicateKeyError as error:
        _fail(source, f'has the key "{error}" twice in one object')
    except (ValueError, RecursionError):
        _fail(source, "is not JSON that can be used: a number too long, or nested too deeply")
    if isinstance(document, dict):
        return document
    _fail(source, "must be a JSON object: {...}")


def _without_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in pairs:
        if key in found:
            raise _DuplicateKeyError(key)
        found[key] = value
    return found
