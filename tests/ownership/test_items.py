"""Earlier items in a body: those that stand for what they name, and those that are written out."""

from __future__ import annotations

import orjson
import pytest

from gptproxy.ownership import ItemScan, TooManyReferences
from gptproxy.ownership.items import MOST_ITEMS, WHOLE_ITEM_BYTES
from gptproxy.wire import member_spans

LONG = "x" * WHOLE_ITEM_BYTES


def scanned(items: object, step: int = 65_536) -> ItemScan:
    body = items if isinstance(items, bytes) else orjson.dumps({"input": items})
    scan = ItemScan(body, member_spans(body)["input"])
    while not scan.step(step):
        pass
    return scan


@pytest.mark.parametrize("step", [1000, 65_536, 1 << 24])
@pytest.mark.parametrize(
    ("items", "named", "repeated", "sealed"),
    [
        ("a text", [], [], []),
        ([], [], [], []),
        (["a", 1, None, ["id"], {}, {"id": 1}, {"type": "message"}], [], [], []),
        ([{"id": "a"}, {"id": "b", "type": None}], ["a", "b"], [], []),
        ([{"id": "a", "role": "user"}, {"id": "b", "type": "reasoning"}], [], ["a", "b"], []),
        ([{"id": "a", "x": LONG}, {"id": "b", "y": LONG}, LONG], ["a", "b"], [], []),
        ([{"id": "a", "x": LONG, "type": "y"}, {"x": LONG}], [], ["a"], []),
        ([{"id": LONG}], [""], [], []),
        (
            [
                {"id": "b", "type": "reasoning", "encrypted_content": "x"},
                {"id": "a", "type": "reasoning", "encrypted_content": LONG},
                {"id": "c", "type": "reasoning", "encrypted_content": None},
            ],
            [],
            ["a", "b", "c"],
            ["b", "a"],
        ),
    ],
)
def test_items(
    items: object, named: list[str], repeated: list[str], sealed: list[str], step: int
) -> None:
    """The same in slices as at once, however large an item is."""
    scan = scanned(items, step)
    assert (sorted(scan.named), sorted(scan.repeated), scan.sealed) == (named, repeated, sealed)


@pytest.mark.parametrize(
    "items",
    [
        b"1," * MOST_ITEMS + b"1",
        b'{"id":"a","id":"b","x":"%b"}' % LONG.encode(),
        b'{"x":1e999}',
    ],
)
def test_what_cannot_be_told(items: bytes) -> None:
    """Too many, two names in one, a number that no parser takes."""
    with pytest.raises(TooManyReferences):
        scanned(b'{"input":[%b]}' % items)
