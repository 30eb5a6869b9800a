"""
Keys and tokens: written in the configuration, or fetched from where it points.

Reads files; imports nothing of gptproxy but this room's own modules, and nothing of Twisted.

A secret is ``"text"``, ``{file = "path"}``, ``{env = "VARIABLE"}`` or ``{credential = "name"}``,
the last a file in ``$CREDENTIALS_DIRECTORY`` where systemd's ``LoadCredential=`` puts it
(systemd.exec(5), CREDENTIALS). One that is empty, or that everybody knows, is none and is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from attrs import evolve, field, frozen

from gptproxy.config.checks import file_path, matching
from gptproxy.config.fields import Key, Place, Refused, Section, Table, kind_of
from gptproxy.config.file_reading import read_file
from gptproxy.config.secret import Secret

__all__ = ["LONGEST_KEY", "LONGEST_TOKEN", "checked_secret", "secret"]

#: In characters. Azure's keys have 32 or 84, OpenAI's about 164, access tokens up to 3 KiB.
LONGEST_KEY = 4096
#: In characters, for a token that the operator gives out.
LONGEST_TOKEN = 512

_VISIBLE = re.compile(r"[!-~]+")
_SEPARATORS = re.compile(r"[-_.]")

# What documentation, examples and installers leave behind; lower case, without separators.
_WELL_KNOWN = re.compile(
    r"(?:your|my|the|azure|openai|insert|enter|put|here|goes|api|key|token|secret|password)+"
    r"|(?:change|replace)(?:it|me|this)|sk|skproj"
    r"|admin|default|dummy|empty|example|fixme|none|null|placeholder|tbd|test|todo|undefined"
)
# <key>, {{key}}, ${KEY}, $KEY: nothing here fills them in.
_UNFILLED = re.compile(r"<.*>|\$?\{.*\}|\$[A-Z_][A-Z0-9_]*")


@frozen
class _Fetched:
    """A secret before its check: what messages call it, and its text, which no message has."""

    subject: str
    text: str = field(repr=False)
    origin: Path | None = None


def secret(longest: int) -> Callable[[object, Place], Secret]:
    """
    :param longest: characters allowed at most.
    :return: a check that gives a :class:`~gptproxy.config.settings.Secret`.
    """

    def check(value: object, place: Place) -> Secret:
        if isinstance(value, str):
            return checked_secret(value, longest, subject="the value")
        if isinstance(value, dict):
            fetched = _REFERENCE(value, place)
            found = checked_secret(fetched.text, longest, subject=fetched.subject)
            return evolve(found, origin=fetched.origin)
        raise Refused(
            f"must be text, or a table with file, env or credential, not {kind_of(value)}"
        )

    return check


def checked_secret(text: str, longest: int, *, subject: str) -> Secret:
    """
    :param text: the secret; one newline at its end does not count.
    :param longest: characters allowed at most.
    :param subject: what the messages call it.
    :return: the secret.
    :raise Refused: where it cannot be one.
    """
    text = text.removesuffix("\n").removesuffix("\r")
    if not text:
        raise Refused(f"{subject} is empty")
    if len(text) > longest:
        raise Refused(f"{subject} is longer than {longest} characters")
    if not _VISIBLE.fullmatch(text):
        raise Refused(f"{subject} must be visible ASCII characters without spaces")
    if _is_placeholder(text):
        raise Refused(f"{subject} is a placeholder, not a secret")
    return Secret(text)


def _is_placeholder(text: str) -> bool:
    """:return: whether this is what an example has where the secret belongs."""
    bare = _SEPARATORS.sub("", text.lower())
    repeated = len(text) > 1 and len(set(bare.removeprefix("sk"))) < 2  # ****, xxxx, sk-xxxx
    unfilled = _UNFILLED.fullmatch(text) or _WELL_KNOWN.fullmatch(bare)
    return repeated or "..." in text or unfilled is not None


def _exactly_one(table: Table, place: Place) -> None:
    if len(table.written) != 1:
        place.note("must have exactly one of file, env and credential")


def _fetch(values: dict[str, object], place: Place) -> _Fetched:
    ((where, what),) = values.items()
    if isinstance(what, Path):
        return _read(what, f"the file {what}")
    if where == "env":
        subject = f"the environment variable {what}"
        text = place.environ.get(str(what))
        if text is None:
            raise Refused(f"{subject} is not set")
        return _Fetched(subject, text)
    directory = place.environ.get("CREDENTIALS_DIRECTORY")
    subject = f"the credential {what}"
    if not directory:
        raise Refused(
            f"{subject} is the running service's alone, and $CREDENTIALS_DIRECTORY is not set"
        )
    return _read(Path(directory, str(what)), subject)


def _read(path: Path, subject: str) -> _Fetched:
    try:
        content = read_file(path, LONGEST_KEY + 3)  # the longest, its line's end, and one too many
    except OSError as error:
        raise Refused(f"{subject} cannot be read: {error.strerror}") from None
    return _Fetched(subject, content.decode("ascii", "replace"), path)


_REFERENCE = Section(
    keys=(
        Key("file", file_path),
        Key("env", matching(r"[A-Za-z_][A-Za-z0-9_]{0,127}", "an environment variable's name")),
        Key("credential", matching(r"(?!\.{1,2}\Z)[A-Za-z0-9._-]{1,255}", "a name without slash")),
    ),
    make=_fetch,
    rules=(_exactly_one,),
)
