"""Tests of :mod:`gptproxy.config.load`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from gptproxy.config import (
    AccessSettings,
    ConfigurationError,
    Settings,
    TLSSettings,
    load_settings,
)
from gptproxy.config.load import LONGEST_FILE
from tests.config.test_seeds import ENVIRON, PRIMARY, USERS

SECONDS = "must be over 0 and at most 86400 seconds"

TOML = """
[gitlab]
url = "https://git.corp.com"

[[upstream]]
name = "primary"
kind = "azure"
resource = "gpt1"
api_key = { env = "AZURE_KEY" }
[upstream.deployments]
"gpt-4" = "gpt-4"
"""


def load(
    directory: Path, path: str | None = None, environ: dict[str, str] | None = None
) -> Settings:
    return load_settings(
        None if path is None else Path(path),
        environ={"AZURE_KEY": "4f29ec7c704d453fbb15e82a6700beef"} if environ is None else environ,
        default_path=directory / "etc" / "gptproxy.toml",
        working_directory=directory,
    )


def complaint(directory: Path, path: str | None) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load(directory, path)
    # Parsers' errors hold the whole file; they must not come along.
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return str(caught.value)


def test_the_order(tmp_path: Path) -> None:
    """The named file, else the default one, else the environment, else pure proxy."""
    nothing = load(tmp_path, environ={"PATH": "/usr/bin"})
    assert nothing == Settings(
        source="no configuration",
        tls=TLSSettings(tmp_path / "cert.pem", tmp_path / "key.pem"),
        access=AccessSettings(pure_proxy=True),
    )
    environment = load(tmp_path, environ=ENVIRON)
    assert (environment.source, environment.access.pure_proxy) == ("the environment", False)
    default = tmp_path / "etc" / "gptproxy.toml"
    default.parent.mkdir()
    default.touch()
    empty = load(tmp_path, environ=ENVIRON)
    assert empty == Settings(
        source=str(default),
        tls=TLSSettings(default.parent / "cert.pem", default.parent / "key.pem"),
        access=AccessSettings(objects=default.parent / "objects.db"),
    )
    (tmp_path / "named.toml").write_text("[access]\npure_proxy = true\n")
    named = load(tmp_path, "named.toml", ENVIRON)
    assert (named.source, named.upstreams, named.access.pure_proxy) == ("named.toml", (), True)


@pytest.mark.parametrize("variable", ["PrimaryApiKey", "SecondaryApiKey", "UserTokens"])
def test_one_variable_is_enough(tmp_path: Path, variable: str) -> None:
    """A variable that is set, even empty, never leaves the daemon a pure proxy by accident."""
    with pytest.raises(ConfigurationError, match=rf"^the environment: {variable}: "):
        load(tmp_path, environ={variable: ""})


def test_a_default_file_that_cannot_be_read_is_not_passed_over(tmp_path: Path) -> None:
    """A link to nowhere, or a loop of links, is reported: it does not mean pure proxy."""
    default = tmp_path / "etc" / "gptproxy.toml"
    default.parent.mkdir()
    default.symlink_to("nowhere")
    assert complaint(tmp_path, None) == f"{default}: cannot be read: No such file or directory"
    default.unlink()
    default.parent.rmdir()
    default.parent.symlink_to("etc")
    assert complaint(tmp_path, None).startswith(f"{default}: cannot be read: Too many levels")
    default.parent.unlink()
    default.parent.touch()
    assert load(tmp_path).source == "no configuration"


def test_every_form(tmp_path: Path) -> None:
    """TOML by default, JSON by its suffix, Haigpt's by its keys; a byte order mark is no fault."""
    document = {
        "gitlab": {"url": "https://git.corp.com"},
        "upstream": [
            {
                "name": "primary",
                "kind": "azure",
                "resource": "gpt1",
                "api_key": {"env": "AZURE_KEY"},
                "deployments": {"gpt-4": "gpt-4"},
            }
        ],
    }
    haigpt = {"primaryApiKey": PRIMARY, "userTokens": USERS}
    (tmp_path / "a.toml").write_text(TOML)
    (tmp_path / "a.conf").write_bytes(b"\xef\xbb\xbf" + TOML.encode())
    (tmp_path / "a.JSON").write_text(json.dumps(document))
    (tmp_path / "empty.json").write_text(" \n")
    (tmp_path / "config.json").write_text(json.dumps(haigpt))
    first = load(tmp_path, "a.toml")
    assert first.upstreams[0].url == "https://gpt1.openai.azure.com"
    assert load(tmp_path, "a.conf").upstreams == first.upstreams
    assert load(tmp_path, "a.JSON").upstreams == first.upstreams
    assert load(tmp_path, "empty.json").upstreams == ()
    assert load(tmp_path, "config.json").unknown_model == "first"
    assert load(tmp_path, "config.json").tls.certificate == tmp_path / "cert.pem"


def test_paths_start_at_the_file(tmp_path: Path) -> None:
    """A relative file is found from the working directory, what it names from its own."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "g.toml").write_text("[knowledge]\ndatabase = 'k.db'\n")
    found = load(tmp_path / "sub", "../sub/g.toml")
    assert found.source == "../sub/g.toml"
    assert found.knowledge is not None
    assert found.knowledge.database.is_absolute()
    assert found.knowledge.database.resolve() == tmp_path.resolve() / "sub" / "k.db"
    named = load(tmp_path, str(tmp_path / "sub" / "g.toml"))
    assert named.knowledge is not None
    assert named.knowledge.database == tmp_path / "sub" / "k.db"


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("none.toml", None, "cannot be read: No such file or directory"),
        (".", None, "cannot be read: Is a directory"),
        ("a.toml", b"x" * (LONGEST_FILE + 1), "is larger than 1048576 bytes"),
        ("a.toml", b"# \n\n# caf\xe9\n", "is not UTF-8 (at line 3)"),
        (
            "a.toml",
            b"[tls]\ncertificate cert.pem\n",
            "is not TOML: Expected '=' after a key in a key/value pair (at line 2, column 13)",
        ),
        (
            "a.toml",
            b"x = " + b"9" * 5000,
            "is not TOML that can be used: a number too long, or nested too deeply",
        ),
        (
            "a.toml",
            b"x = " + b"[" * 100_000,
            "is not TOML that can be used: a number too long, or nested too deeply",
        ),
        ("a.toml", b"tls = 3", "tls: must be a table, not a whole number"),
        (
            "a.json",
            b'{"tls": {},\n}',
            "is not JSON: {} (at line {}, column {})",
        ),
        ("a.json", b"{'a': 1}", "is not JSON: {} (at line {}, column {})"),
        ("a.json", b'{"tls": {}, "tls": {}}', 'has the key "tls" twice in one object'),
        ("a.json", b'{"x": {"a\\n": 1, "a\\n": 2}}', 'has the key "a\\n" twice in one object'),
        ("a.json", b"[]", "must be a JSON object: {...}"),
        ("a.json", b"null", "must be a JSON object: {...}"),
        (
            "a.json",
            b'{"x": ' + b"9" * 5000 + b"}",
            "is not JSON that can be used: a number too long, or nested too deeply",
        ),
        (
            "a.json",
            b"[" * 500_000,
            "is not JSON that can be used: a number too long, or nested too deeply",
        ),
        (
            "a.json",
            b'{"retry": {"budget_seconds": Infinity, "backoff_seconds": NaN}}',
            f"retry.backoff_seconds: {SECONDS}\na.json: retry.budget_seconds: {SECONDS}",
        ),
    ],
)
def test_bad_files(tmp_path: Path, name: str, content: bytes | None, line: str) -> None:
    """A file that cannot be used is named, with the position where there is one."""
    if content is not None:
        (tmp_path / name).write_bytes(content)
    if "{} (at" in line:
        # Python 3.13 words some of json's messages anew.
        with pytest.raises(json.JSONDecodeError) as caught:
            json.loads(content or b"")
        line = line.format(caught.value.msg, caught.value.lineno, caught.value.colno)
    assert complaint(tmp_path, name) == f"{name}: {line}"


@hypothesis_settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(["a.toml", "a.json"]),
    st.binary(max_size=60) | st.text(alphabet='[]{}="\\,: \nab1.e-', max_size=60).map(str.encode),
)
def test_any_bytes(tmp_path_factory: pytest.TempPathFactory, name: str, content: bytes) -> None:
    """Any file is a configuration or a ConfigurationError of printable lines that name it."""
    directory = tmp_path_factory.getbasetemp()
    (directory / name).write_bytes(content)
    try:
        load(directory, name)
    except ConfigurationError as error:
        lines = str(error).split("\n")
        assert lines
        assert all(each.isprintable() and each.startswith(f"{name}: ") for each in lines)
