"""The stand-ins of this room's tests are what they stand for."""

from __future__ import annotations

import inspect

import pytest

from gptproxy.access import Authenticator
from gptproxy.upstream import ModelList, Sender
from tests.api.rig import Access, Listing, Sending


@pytest.mark.parametrize(
    ("stand_in", "real", "name"),
    [
        (Access, Authenticator, "look_up"),
        (Access, Authenticator, "ask_about"),
        (Sending, Sender, "send"),
        (Listing, ModelList, "models"),
    ],
)
def test_stand_ins_take_and_give_the_same(stand_in: type, real: type, name: str) -> None:
    """Parameters, their kinds and types, and what is returned."""
    assert inspect.signature(getattr(stand_in, name)) == inspect.signature(getattr(real, name))
