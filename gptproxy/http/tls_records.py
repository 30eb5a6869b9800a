"""
Where the records of a TLS stream end, told by their lengths alone.

Pure: imports nothing of gptproxy and nothing of Twisted. Whoever knows that the bytes of a read are so many whole
records need not ask OpenSSL for one more than there are: the answer to that is an exception, and it costs as much as
decrypting a record.
"""

from __future__ import annotations

from typing import Final

__all__ = ["MAX_PLAINTEXT_BYTES", "RecordCount"]

MAX_PLAINTEXT_BYTES: Final = 16_384
"""What a record holds at most (RFC 8446 5.1)."""

_HEADER_BYTES: Final = 5
"""Type, version and two bytes of length (RFC 8446 5.1)."""


class RecordCount:
    """The records of one direction of a connection, counted as they come."""

    __slots__ = ("_begun", "_missing")

    def __init__(self) -> None:
        # Of a record that has begun: so many bytes are still to come, or these of its header have.
        self._missing = 0
        self._begun = b""

    def whole(self, data: bytes) -> int:
        """
        :param data: the connection's next bytes.
        :return: how many records they are, if they begin where one begins and end where one ends; else 0.
        """
        from_start = not self._missing and not self._begun
        if self._begun:
            data, self._begun = self._begun + data, b""
        size = len(data)
        place = self._missing
        count = 0
        while place + _HEADER_BYTES <= size:
            place += _HEADER_BYTES + (data[place + 3] << 8 | data[place + 4])
            count += 1
        if place < size:
            self._missing, self._begun = 0, data[place:]
            return 0
        self._missing = place - size
        return count if from_start and place == size else 0
