"""
Modes and owners of the files that hold secrets.

Reads the file system; imports the config room. A secret's file may be read by its owner and its owner's group, and by
nobody else; nobody but its owner may write it; its owner is root or whoever runs this.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import attrs

from gptproxy.check.finding import Finding, Level
from gptproxy.config import Secret, Settings

__all__ = ["check_files", "is_missing", "secrets_in"]

_READABLE_BY_ALL = stat.S_IROTH
_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def secrets_in(value: object) -> Iterator[Secret]:
    """
    :param value: settings, or what they are made of.
    :return: every secret in them.
    """
    if isinstance(value, Secret):
        yield value
    elif attrs.has(kind := type(value)):
        for each in attrs.fields(kind):
            yield from secrets_in(getattr(value, each.name))
    elif isinstance(value, tuple):
        for each in value:
            yield from secrets_in(each)


def is_missing(path: Path) -> bool:
    """
    :param path: of a file.
    :return: True only where that is certain: what may not be looked at is to be reported as that.
    """
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        pass
    return False


def check_files(settings: Settings, environ_secrets: frozenset[str]) -> list[Finding]:
    """
    :param settings: what names the files.
    :param environ_secrets: values of environment variables: a secret that is one of them was not written in the file.
    :return: a finding for each file that holds a secret.
    """
    findings = []
    secrets = list(secrets_in(settings))
    source = Path(settings.source)
    if source.is_file():
        written_there = any(
            secret.origin is None and secret.reveal() not in environ_secrets for secret in secrets
        )
        findings.append(_check(source, secret=written_there))
    paths = dict.fromkeys(secret.origin for secret in secrets if secret.origin is not None)
    findings += [_check(path, secret=True) for path in paths]
    key = settings.tls.private_key
    if not is_missing(key):
        findings.append(_check(key, secret=True))
    else:
        findings.append(
            Finding(
                Level.WARNING, str(key), "not there; --port ssl:443 needs it ([tls] private_key)"
            )
        )
    return findings


def _check(path: Path, *, secret: bool) -> Finding:
    subject = str(path)
    try:
        found = path.stat()
        above = path.resolve().parent.stat()
    except OSError as error:
        return Finding(Level.ERROR, subject, f"cannot be looked at: {error.strerror}")
    mode = stat.S_IMODE(found.st_mode)
    if secret and mode & _READABLE_BY_ALL:
        return Finding(
            Level.ERROR,
            subject,
            f"holds a secret and everybody may read it (mode {mode:04o}): chmod o= {path}",
        )
    if mode & _WRITABLE_BY_OTHERS:
        return Finding(
            Level.ERROR,
            subject,
            f"others than its owner may change it (mode {mode:04o}): chmod go-w {path}",
        )
    if above.st_mode & stat.S_IWOTH and not above.st_mode & stat.S_ISVTX:
        return Finding(
            Level.ERROR,
            subject,
            f"everybody may replace it: its folder is writable by all: chmod o-w {path.parent}",
        )
    if found.st_uid not in (0, os.geteuid()) and os.geteuid() != 0:
        return Finding(
            Level.WARNING, subject, f"belongs to user {found.st_uid}, neither root nor you"
        )
    return Finding(Level.GOOD, subject, f"mode {mode:04o}, owner {found.st_uid}")
