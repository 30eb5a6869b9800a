"""Tests of :mod:`gptproxy.config.secrets`."""

from __future__ import annotations

from pathlib import Path

import pytest

from gptproxy.config import Secret
from gptproxy.config.fields import Place
from gptproxy.config.secrets import secret

KEY = "4f29ec7c704d453fbb15e82a6700beef"


def read(
    value: object, directory: Path, environ: dict[str, str] | None = None
) -> tuple[str | None, list[str]]:
    place = Place("f", directory, environ or {}, path="k")
    found = place.attempt(secret(64), value)
    assert found is None or isinstance(found, Secret)
    return None if found is None else found.reveal(), [
        f"{p.key}: {p.message}" for p in place.problems
    ]


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_every_source(tmp_path: Path, end: str) -> None:
    """Text, file, variable and credential give the same secret, one newline at the end aside."""
    (tmp_path / "azure.key").write_text(KEY + end, newline="")
    environ = {"AZURE_KEY": KEY + end, "CREDENTIALS_DIRECTORY": str(tmp_path)}
    for value in (
        KEY + end,
        {"file": "azure.key"},
        {"file": str(tmp_path / "azure.key")},
        {"env": "AZURE_KEY"},
        {"credential": "azure.key"},
    ):
        assert read(value, tmp_path, environ) == (KEY, [])


def test_it_knows_its_file(tmp_path: Path) -> None:
    """A secret from a file says which, for whoever checks its mode; nothing else about it differs."""
    (tmp_path / "azure.key").write_text(KEY)
    place = Place("f", tmp_path, {"AZURE_KEY": KEY}, path="k")
    from_file = place.attempt(secret(64), {"file": "azure.key"})
    from_environment = place.attempt(secret(64), {"env": "AZURE_KEY"})
    assert from_file is not None
    assert from_environment is not None
    assert from_file.origin == tmp_path / "azure.key"
    assert from_environment.origin is None
    assert from_file == from_environment
    assert len({from_file, from_environment}) == 1


FORM = "k: must be text, or a table with file, env or credential"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (3, f"{FORM}, not a whole number"),
        (None, f"{FORM}, not null"),
        ("", "k: the value is empty"),
        ("\n", "k: the value is empty"),
        ("a" * 32 + "b" * 33, "k: the value is longer than 64 characters"),
        ("two words", "k: the value must be visible ASCII characters without spaces"),
        ("cl\u00e9", "k: the value must be visible ASCII characters without spaces"),
        (f"{KEY}\n\n", "k: the value must be visible ASCII characters without spaces"),
        ({}, "k: must have exactly one of file, env and credential"),
        ({"env": "A", "file": "b"}, "k: must have exactly one of file, env and credential"),
        ({"envs": "A"}, 'k.envs: unknown key; did you mean "env"?'),
        ({"env": "A=B"}, "k.env: must be an environment variable's name"),
        ({"env": 3}, "k.env: must be text, not a whole number"),
        ({"env": "MISSING"}, "k: the environment variable MISSING is not set"),
        ({"env": "EMPTY"}, "k: the environment variable EMPTY is empty"),
        ({"env": "DUMMY"}, "k: the environment variable DUMMY is a placeholder, not a secret"),
        ({"file": ""}, "k.file: must be a file's path"),
        (
            {"file": "/nowhere/k"},
            "k: the file /nowhere/k cannot be read: No such file or directory",
        ),
        ({"file": "/"}, "k: the file / cannot be read: Is a directory"),
        ({"credential": "a/b"}, "k.credential: must be a name without slash"),
        ({"credential": ".."}, "k.credential: must be a name without slash"),
        (
            {"credential": "azure"},
            "k: the credential azure is the running service's alone, and $CREDENTIALS_DIRECTORY is not set",
        ),
    ],
)
def test_what_is_refused(tmp_path: Path, value: object, message: str) -> None:
    """A message names where the secret was to come from, never what came."""
    environ = {"EMPTY": "\n", "DUMMY": "changeme"}
    assert read(value, tmp_path, environ) == (None, [message])


def test_files_that_hold_no_secret(tmp_path: Path) -> None:
    """An empty file, one with other bytes, and one that is too long are refused, named."""
    (tmp_path / "empty").touch()
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    (tmp_path / "long").write_bytes(b"ab" * 100_000)
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert [read({"credential": name}, tmp_path, environ)[1] for name in ("empty", "none")] == [
        ["k: the credential empty is empty"],
        ["k: the credential none cannot be read: No such file or directory"],
    ]
    assert [read({"file": name}, tmp_path)[1] for name in ("binary", "long")] == [
        [f"k: the file {tmp_path}/binary must be visible ASCII characters without spaces"],
        [f"k: the file {tmp_path}/long is longer than 64 characters"],
    ]


@pytest.mark.parametrize(
    "text",
    [
        *("...", "sk-...", "abc...xyz", "changeme", "Change-Me", "change_this", "replace-me"),
        *("secret", "password", "token", "key", "API_KEY", "your-api-key", "YOUR_KEY_HERE"),
        *("your-azure-openai-api-key", "sk", "sk-", "sk-xxxxxxxx", "xxxx", "****", "----", "0000"),
        *(
            "<your key>".replace(" ", "-"),
            "${AZURE_KEY}",
            "$AZURE_KEY",
            "{{azure_key}}",
            "none",
            "null",
            "TODO",
        ),
        *("test", "example", "default", "dummy", "placeholder", "undefined", "enter-key-here"),
    ],
)
def test_placeholders_are_refused(tmp_path: Path, text: str) -> None:
    """What examples and templates have in a secret's place is none."""
    assert read(text, tmp_path) == (None, ["k: the value is a placeholder, not a secret"])


@pytest.mark.parametrize(
    "text",
    ["a", KEY, "sk-87vbtyWRh5tH", "glpat-x", "keyboard-cat", "test-token-1", "a..b", "$a", "<a"],
)
def test_secrets_that_only_resemble_placeholders(tmp_path: Path, text: str) -> None:
    """Short or plain secrets are the operator's own choice."""
    assert read(text, tmp_path) == (text, [])
