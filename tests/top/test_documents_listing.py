"""``gptproxy docs list``, ``remove``, ``export``, ``import`` and ``search``, as an operator has them."""

from __future__ import annotations

import io
import sys
from contextlib import closing
from unittest import mock

import numpy as np
from twisted.trial.unittest import SynchronousTestCase

from gptproxy.command import main
from gptproxy.knowledge.passages import Excerpt
from gptproxy.knowledge.store import KnowledgeStore
from gptproxy.knowledge.vector_sets import EmbeddingModel
from tests.knowledge.standins import put_document
from tests.top.rig import folder_of, printed, python

_CONFIGURATION = """\
[gitlab]
url = "https://git.corp.com"
[knowledge]
database = "knowledge.db"
"""


class ListingTests(SynchronousTestCase):
    """Over a real database, without a network."""

    def setUp(self) -> None:
        self.folder = folder_of(self)
        self.config = self.folder / "g.toml"
        self.config.write_text(_CONFIGURATION)
        self.database = self.folder / "knowledge.db"

    def fill(self) -> None:
        vectors = np.ones((1, 2), np.float32)
        put_document(
            self.database,
            "birds",
            "m",
            "docs/a.md",
            [Excerpt("Birds", "The swift sleeps in the air.")],
            vectors,
        )
        put_document(
            self.database,
            "birds",
            "m",
            "p/b.md",
            [Excerpt("", "b")],
            None,
            project="g/p",
            members_only=True,
        )
        put_document(self.database, "words", None, "docs/a.md", [Excerpt("", "a")])

    def run_docs(self, action: str, *arguments: str) -> tuple[int, str, str]:
        with printed() as (out, err):
            status = main(["docs", action, "-c", str(self.config), *arguments])
        return status, out.getvalue(), err.getvalue()

    def test_a_list(self) -> None:
        """Collections, what their vectors are of, their sources, and what is under way."""
        self.fill()
        with closing(KnowledgeStore(self.database)) as store:
            store.note_synced(1, 0)
            building = store.vectors.wanted(1, EmbeddingModel("n"))
            store.vectors.fill(building, {1: b"\0" * 8})
        status, out, err = self.run_docs("list")
        self.assertEqual((status, err), (0, ""))
        self.assertEqual(
            out,
            "birds: 2 passages, m (2 dimensions), 1 of them without vectors; 1 are embedded with n, to which"
            " `gptproxy docs sync` goes on\n"
            "  /docs: 1 documents, 1 passages, read 1970-01-01 00:00 UTC\n"
            "  gitlab:g/p: 1 documents, 1 passages, not read to its end yet, for the project's members only\n"
            "words: 1 passages, found by words alone\n"
            "  /docs: 1 documents, 1 passages, not read to its end yet\n",
        )
        self.assertEqual(self.run_docs("list", "words")[1].count("\n"), 2)

    def test_a_removal(self) -> None:
        """Of sources by their names, or of everything."""
        self.fill()
        self.assertEqual(self.run_docs("remove", "birds", "/elsewhere")[0], 1)
        self.assertEqual(
            self.run_docs("remove", "birds", "gitlab:g/p")[1], "birds: 1 sources removed\n"
        )
        self.assertEqual(self.run_docs("remove", "birds")[0], 0)
        self.assertEqual(
            self.run_docs("list")[1].splitlines()[0], "words: 1 passages, found by words alone"
        )

    def test_an_export_and_its_import(self) -> None:
        """Through a file, and through a pipe."""
        self.fill()
        file = self.folder / "birds.jsonl"
        self.assertEqual(self.run_docs("export", "birds", "-o", str(file))[0], 0)
        self.assertEqual(file.stat().st_mode & 0o777, 0o600)
        status, out, _ = self.run_docs("import", str(file), "--collection", "copy")
        self.assertEqual((status, out), (0, "copy: 2 documents added or changed (2 passages)\n"))
        piped = python("-m", "gptproxy", "docs", "export", "-c", str(self.config), "birds")
        self.assertEqual(piped.stdout, file.read_text("utf-8"))
        stdin = io.TextIOWrapper(io.BytesIO(file.read_bytes()))
        with mock.patch.object(sys, "stdin", stdin):
            self.assertEqual(
                self.run_docs("import")[1], "birds: 0 documents added or changed (0 passages)\n"
            )

    def test_what_cannot_be_done(self) -> None:
        """One line, status 1; a file that is there stays."""
        file = self.folder / "x.jsonl"
        file.write_text("old")
        for arguments in (
            ("list",),
            ("remove", "birds"),
            ("export", "birds", "-o", str(file)),
        ):
            status, out, err = self.run_docs(*arguments)
            self.assertEqual((status, out, err.count("\n")), (1, "", 1))
        self.assertFalse(self.database.exists())
        self.fill()
        for arguments in (
            ("list", "x"),
            ("remove", "x"),
            ("export", "x", "-o", str(file)),
            ("import", str(file)),
            ("import", "/none"),
        ):
            status, out, err = self.run_docs(*arguments)
            self.assertEqual((status, out, err.count("\n")), (1, "", 1))
        self.assertEqual(file.read_text(), "old")
        self.assertEqual(list(self.folder.glob("*.part")), [])
        self.config.write_text("[access]\npure_proxy = true\n")
        self.assertIn("knowledge: missing", self.run_docs("list")[2])

    def test_a_search(self) -> None:
        """Passages with scores and sources; without an upstream, by words."""
        self.fill()
        command = ("-m", "gptproxy", "docs", "search", "-c", str(self.config), "birds")
        found = python(*command, "where does the swift sleep")
        self.assertEqual(found.returncode, 0, found.stderr)
        self.assertIn("docs/a.md / Birds\n    The swift sleeps in the air.\n", found.stdout)
        nothing = python(*command, "quantum")
        self.assertEqual((nothing.returncode, nothing.stdout), (1, ""))
        self.assertIn("nothing is found", nothing.stderr)
