"""
The ids of a chat's spoken answers, heard as they pass: a later call may name one in the place of what was said.

May import the HTTP room and this room. OpenAI's "Chat completions" reference: ``choices[].message.audio.id``, in a
stream ``choices[].delta.audio.id``; the makers keep the sound for an hour.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from gptproxy.api.creation import Found
from gptproxy.api.json_call import JSONCall
from gptproxy.api.passing import PassedResponse
from gptproxy.http import Response

__all__ = ["HeardSpeech", "has_sound", "spoken"]

# A quotation mark inside of a text has a backslash before it, so that no text looks like this, whatever it says.
_ID = re.compile(rb'"id"[ \t\r\n]{0,8}+:[ \t\r\n]{0,8}+"(audio[^"\\]{1,250}+)"')

OVERLAP_BYTES: Final = 300
"""Of a piece that are looked at again with the next: more than the longest match has."""

MOST_ANSWERS: Final = 128
"""To one call: as many as its ``n`` may be."""


_SOUND: Final = ("modalities", "audio", "voice")


def has_sound(call: JSONCall) -> bool:
    """
    :param call: of a route that names a model.
    :return: whether it asks for sound, or names some that there is: a chat's ``modalities`` and ``audio``, a speech's
        ``voice``, and, where the body is no large one, the ``audio`` of a chat's messages.
    """
    if not call.spans.keys().isdisjoint(_SOUND):
        return True
    messages = call.content.get("messages")
    if isinstance(messages, list):
        # Whichever of several members of one name a parser keeps, of one message it keeps one.
        for message in messages:
            if isinstance(message, dict) and "audio" in message:
                return True
    return False


class HeardSpeech:
    """
    :param tell: is given ids and kinds.
    """

    def __init__(self, tell: Callable[[Found], None]) -> None:
        self._tell = tell
        self._rest = b""
        self._told: set[str] = set()

    def receive(self, piece: bytes) -> bytes:
        """
        :param piece: the answer's next bytes.
        :return: the same.
        """
        text = self._rest + piece
        self._rest = text[-OVERLAP_BYTES:]
        new = {each.decode("utf-8", "replace") for each in _ID.findall(text)} - self._told
        if new and len(self._told) < MOST_ANSWERS:
            self._told |= new
            self._tell([(each, "spoken") for each in new])
        return piece

    def finish(self) -> bytes:
        """:return: nothing: an id that breaks off is none."""
        return b""


def spoken(response: Response, tell: Callable[[Found], None]) -> Response:
    """
    :param response: to a chat that asks for sound; its body has not been taken.
    :param tell: is given the ids and kinds of what is spoken in it, as they pass.
    :return: the same answer.
    """
    return PassedResponse(response, HeardSpeech(tell), response.length)
