"""
How long does an upstream ask to be left alone? Every form in which it says so.

Pure: imports the HTTP room, which reads what any server may say. In order: ``retry-after-ms``; ``retry-after`` in
seconds or as a date (RFC 9110 10.2.3), which is read against the answer's own ``date``; of the limit that is used up
``x-ratelimit-reset-requests`` or ``-tokens``, durations such as ``6m0s`` at OpenAI, plain numbers at Azure; the words
of the error's message as the last resort.
"""

from __future__ import annotations

import re

from gptproxy.http import Fields, asked_seconds

__all__ = ["retry_after_seconds"]

_UNITS_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_NUMBER = re.compile(r"[0-9]{1,12}(?:\.[0-9]{0,9})?|\.[0-9]{1,9}", re.ASCII)
_NOTHING = re.compile(r"-[0-9.]{1,20}|0{1,20}(?:\.0{0,9})?", re.ASCII)
_PART = re.compile(r"([0-9]{1,12}(?:\.[0-9]{0,9})?)(ms|s|m|h|d)", re.ASCII)
_DURATION = re.compile(r"(?:[0-9]{1,12}(?:\.[0-9]{0,9})?(?:ms|s|m|h|d)){1,5}", re.ASCII)
_RESETS = ((b"requests", b"x-ratelimit-reset-requests"), (b"tokens", b"x-ratelimit-reset-tokens"))

# A number so large is a date in disguise, which nobody documents.
_LONGEST_RESET_SECONDS = 86_400.0

# "Please retry after 22 seconds", "Please wait 23 seconds before retrying", "Please try again in 6m0s", "... in 120ms".
_WORDS = re.compile(
    r"\b(?:retry after|retry in|wait|try again (?:in|after))(?: for)?[ ]"
    r"([0-9]{1,9}(?:\.[0-9]{1,9})?)[ ]?(milliseconds?|ms|seconds?|secs?|minutes?|mins?|hours?|s\b|m\b|h\b|m(?=[0-9]))"
    r"(?:([0-9]{1,2}(?:\.[0-9]{1,9})?)s)?",
    re.ASCII | re.IGNORECASE,
)


def retry_after_seconds(
    fields: Fields, message: str = "", *, throttled: bool = True
) -> float | None:
    """
    :param fields: an answer's field lines.
    :param message: the error's message, for an upstream that says it in words only.
    :param throttled: the answer says that a limit is used up. Every answer tells when the limits are full again, 8.64
        seconds at 10,000 calls a day; of other trouble that says nothing.
    :return: how long the upstream asks to be left alone, 0 or more; None where it does not say.
    """
    values: dict[bytes, str] = {}
    for name, value in fields:
        if name.startswith((b"retry-after", b"x-ratelimit-re", b"date")):
            values.setdefault(name, value.decode("latin-1").strip())
    wait = asked_seconds(
        values.get(b"retry-after-ms", ""), values.get(b"retry-after", ""), values.get(b"date", "")
    )
    if wait is None and throttled:
        wait = _reset(values)
    return _in_words(message) if wait is None else wait


def _reset(values: dict[bytes, str]) -> float | None:
    """
    :return: until the limits that are used up are full again; where nothing says what remains, the nearest. None where
        something remains of each: then it is another limit that throttles (calls a second, the model's load), and
        when these are full again says nothing of it.
    """
    used_up: list[float] = []
    untold: list[float] = []
    for what, name in _RESETS:
        wait = _duration(values.get(name, ""))
        if wait is None:
            continue
        remains = values.get(b"x-ratelimit-remaining-" + what, "")
        if _NOTHING.fullmatch(remains):
            used_up.append(wait)
        elif _NUMBER.fullmatch(remains) is None:
            untold.append(wait)
    if used_up:
        return max(used_up)
    return min(untold, default=None)


def _duration(text: str) -> float | None:
    """:return: the seconds of ``6m0s``, ``120ms`` or a plain number; None for anything else."""
    if _DURATION.fullmatch(text):
        return sum(float(number) * _UNITS_SECONDS[unit] for number, unit in _PART.findall(text))
    seconds = float(text) if _NUMBER.fullmatch(text) else None
    return seconds if seconds is not None and seconds <= _LONGEST_RESET_SECONDS else None


def _in_words(message: str) -> float | None:
    # The longest messages that are known have 500 characters.
    match = _WORDS.search(message[:4096])
    if match is None:
        return None
    number, unit, seconds = match.groups()
    unit = unit.lower()
    short = "ms" if unit.startswith(("ms", "milli")) else unit[0]
    return float(number) * _UNITS_SECONDS[short] + (float(seconds) if seconds else 0.0)
