"""PDF is read page by page, where pypdf is installed; what says nothing has a reason."""

from __future__ import annotations

import sys
from unittest import mock

import pytest

from gptproxy.knowledge.errors import Unfit, Unreachable
from gptproxy.knowledge.formats import FileFormat, excerpts_of


def _pdf(text: str, more: str = "") -> bytes:
    """:return: a PDF of one page."""
    content = f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET" if text else ""
    parts = [
        "<</Type/Catalog/Pages 2 0 R>>",
        "<</Type/Pages/Kids[3 0 R]/Count 1>>",
        "<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>",
        f"<</Length {len(content)}>>stream\n{content}\nendstream",
        "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    out = "%PDF-1.4\n"
    places = []
    for number, part in enumerate(parts, 1):
        places.append(len(out))
        out += f"{number} 0 obj\n{part}\nendobj\n"
    start = len(out)
    out += f"xref\n0 {len(parts) + 1}\n0000000000 65535 f \n"
    out += "".join(f"{place:010} 00000 n \n" for place in places)
    out += f"trailer<</Size {len(parts) + 1}/Root 1 0 R{more}>>\nstartxref\n{start}\n%%EOF"
    return out.encode()


def test_pdf() -> None:
    """Page by page."""
    excerpts, _ = excerpts_of(_pdf("Hello bird"), FileFormat.PDF)
    assert [(one.heading, one.text) for one in excerpts] == [("page 1", "Hello bird")]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (_pdf(""), "a PDF without text; scanned pages have none"),
        (b"%PDF-1.4 nothing", "a PDF that cannot be read: "),
    ],
)
def test_pdf_that_says_nothing(data: bytes, reason: str) -> None:
    """Has a reason."""
    with pytest.raises(Unfit) as caught:
        excerpts_of(data, FileFormat.PDF)
    assert str(caught.value).startswith(reason)


def test_pdf_without_pypdf_can_be_read_later() -> None:
    """It is not unfit: nothing is remembered of it, and the message says what to install."""
    with (
        mock.patch.dict(sys.modules, {"pypdf": None}),
        pytest.raises(Unreachable, match="python3-pypdf"),
    ):
        excerpts_of(_pdf("x"), FileFormat.PDF)


def test_pdf_with_a_password() -> None:
    """Is unfit."""
    locked = mock.Mock(is_encrypted=True, decrypt=lambda password: 0)
    with (
        mock.patch("pypdf.PdfReader", return_value=locked),
        pytest.raises(Unfit, match="password"),
    ):
        excerpts_of(_pdf("x"), FileFormat.PDF)
