"""A clock that turns as the reactor does."""

from __future__ import annotations

from twisted.internet.task import Clock

__all__ = ["TurningClock"]


class TurningClock(Clock):
    """``Clock.advance`` also makes the calls that are scheduled meanwhile; the reactor leaves them to its next turn."""

    def turn(self, times: int = 1) -> None:
        """Make the calls that are due, so many times."""
        for _ in range(times):
            for call in [call for call in self.calls if call.getTime() <= self.seconds()]:
                if call.active():
                    self.calls.remove(call)
                    call.called = 1
                    call.func(*call.args, **call.kw)
