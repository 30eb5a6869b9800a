"""A GitLab project is read by its API: each blob once, from the configured GitLab only."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import orjson
import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from gptproxy.http import NoAnswer, OwnAnswer
from gptproxy.knowledge.embedding_runs import Embedding as HowToEmbed
from gptproxy.knowledge.errors import Unfit, Unreachable
from gptproxy.knowledge.feeding import Feeding, FeedReport
from gptproxy.knowledge.formats import FileFormat
from gptproxy.knowledge.gitlab_source import GitLabAccess, GitLabPlace, GitLabSource
from gptproxy.knowledge.sources import FoundFile
from gptproxy.knowledge.vector_sets import EmbeddingModel
from tests.knowledge.content import texts
from tests.knowledge.standins import Embedding, SameThread, folder_of

_URL = "https://git.corp.com/gitlab"
_PROJECT = f"{_URL}/api/v4/projects/group%2Fsub%2Fproject"


@pytest.mark.parametrize(
    ("spec", "place"),
    [
        ("gitlab:group/project", GitLabPlace("group/project", "", "")),
        (
            "gitlab:a/b/c.d@feature/x-1:docs/deep/",
            GitLabPlace("a/b/c.d", "feature/x-1", "docs/deep"),
        ),
        ("gitlab:a/b:docs", GitLabPlace("a/b", "", "docs")),
        ("gitlab:a/b@v1.0", GitLabPlace("a/b", "v1.0", "")),
        ("gitlab:alone", None),
        ("gitlab:a/../b?x", None),
        ("/srv/gitlab:a/b", None),
        ("gitlab:a/b@", None),
    ],
)
def test_how_a_project_is_written(spec: str, place: GitLabPlace | None) -> None:
    """And it is written the same way again."""
    assert GitLabPlace.parsed(spec) == place
    if place is not None:
        assert GitLabPlace.parsed(str(place)) == place


class _Calls:
    """In the place of the calls: answers what it is told, and remembers what it was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, OwnAnswer | Exception] = {}
        self.asked: list[str] = []

    async def ask(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        *,
        limit_bytes: int,
        total_seconds: float,
    ) -> OwnAnswer:
        assert method == "GET"
        assert headers == {"authorization": "Bearer t"}
        self.asked.append(url)
        answer = self.answers.get(url, OwnAnswer(404, b'{"message":"404 Not found"}'))
        if isinstance(answer, Exception):
            raise answer
        if len(answer.body) > limit_bytes:
            raise NoAnswer("ResponseTooLarge")
        return answer


def _entry(
    path: str, blob: str = "a" * 40, mode: str = "100644", kind: str = "blob"
) -> dict[str, str]:
    return {"id": blob, "name": path.rpartition("/")[2], "type": kind, "path": path, "mode": mode}


class GitLabTests(SynchronousTestCase):
    """One source over a GitLab in memory."""

    def setUp(self) -> None:
        self.calls = _Calls()
        self.root = folder_of(self)
        self.place = GitLabPlace("group/sub/project", "", "")
        self.tree = f"{_PROJECT}/repository/tree?recursive=true&per_page=100&pagination=keyset"
        self.wiki = f"{_PROJECT}/wikis?with_content=1"
        self.calls.answers[self.wiki] = OwnAnswer(200, b"[]")

    def source(self) -> GitLabSource:
        """Fresh."""
        access = GitLabAccess(_URL, {"authorization": "Bearer t"}, self.calls)  # type: ignore[arg-type]  # a stand-in
        return GitLabSource(self.place, access)

    def listed(self) -> list[FoundFile]:
        """All files."""
        source = self.source()
        total = self.successResultOf(Deferred.fromCoroutine(source.begin()))
        files = list(self.successResultOf(Deferred.fromCoroutine(source.some(1000))))
        self.assertEqual(total, len(files))
        return files

    def failure(self) -> str:
        """Why nothing can be listed."""
        failed: Failure = self.failureResultOf(
            Deferred.fromCoroutine(self.source().begin()), Unreachable
        )
        return str(failed.value)

    def answer(self, url: str, value: object, **more: str) -> None:
        self.calls.answers[url] = OwnAnswer(200, orjson.dumps(value), **more)

    def test_all_pages_are_listed(self) -> None:
        """Links are followed; what is no document is not; the token's fields are on every call."""
        second = f"{self.tree}&page_token=x"
        self.answer(
            self.tree,
            [
                _entry("a.md"),
                _entry("docs", kind="tree", mode="040000"),
                _entry("link.md", mode="120000"),
                _entry("module.md", mode="160000", kind="commit"),
                _entry(".gitlab/hidden.md"),
                _entry("x.png"),
            ],
            link=f'<{_PROJECT}/x>; rel="first", <{second}>; rel="next"',
        )
        self.answer(
            second, [_entry("docs/run.sh", "b" * 64, "100755")], link=f'<{second}>; rel="first"'
        )
        self.assertEqual(
            self.listed(),
            [
                FoundFile(
                    "repository:a.md", "group/sub/project/a.md", FileFormat.MARKDOWN, "a" * 40
                ),
                FoundFile(
                    "repository:docs/run.sh",
                    "group/sub/project/docs/run.sh",
                    FileFormat.CODE,
                    "b" * 64,
                ),
            ],
        )

    def test_ref_and_path_are_asked_for(self) -> None:
        """With a path there is no wiki."""
        self.place = GitLabPlace("group/sub/project", "feature/ü", "docs & more")
        self.failure()
        query = parse_qs(urlsplit(self.calls.asked[0]).query)
        self.assertEqual((query["ref"], query["path"]), (["feature/ü"], ["docs & more"]))
        self.answer(self.calls.asked[0], [])
        self.assertEqual(self.listed(), [])
        self.assertNotIn(self.wiki, self.calls.asked)

    def test_a_single_file(self) -> None:
        """Its blob id is in its folder's list; a name that says nothing, or is hidden, is read as text."""
        for path, kind in (
            ("docs/a.md", FileFormat.MARKDOWN),
            ("LICENCE", FileFormat.PLAIN),
            (".x/.notes", FileFormat.PLAIN),
        ):
            for absent in (OwnAnswer(404, b""), OwnAnswer(200, b"[]")):
                self.place = GitLabPlace("group/sub/project", "", path)
                folder = path.rpartition("/")[0]
                within = (
                    f"{_PROJECT}/repository/tree?recursive=false&per_page=100&pagination=keyset"
                )
                within += f"&path={folder.replace('/', '%2F')}" if folder else ""
                asked = f"{self.tree}&path={path.replace('/', '%2F')}"
                self.calls.answers[asked] = absent
                other = _entry(f"{folder}/b.md".lstrip("/"), "b" * 40)
                self.answer(within, [other, _entry(path, "a" * 40)])
                name = f"group/sub/project/{path}"
                self.assertEqual(
                    self.listed(), [FoundFile(f"repository:{path}", name, kind, "a" * 40)]
                )
                # A link of that name is none, nor is what is not there.
                self.answer(within, [_entry(path, mode="120000")])
                if absent.status == 404:
                    self.assertIn("knows no such", self.failure())
                    del self.calls.answers[within]
                    self.assertIn("knows no such", self.failure())
                else:
                    self.assertEqual(self.listed(), [])

    def test_a_large_wiki(self) -> None:
        """Its pages are listed without texts and downloaded one by one; one that is too large is told."""
        self.answer(self.tree, [])
        self.calls.answers[self.wiki] = NoAnswer("ResponseTooLarge")
        pages = f"{_PROJECT}/wikis"
        self.answer(pages, [{"slug": slug, "format": "markdown"} for slug in ("a/b", "c", "d")])
        files = self.listed()
        self.assertEqual([file.blob_id for file in files], [None] * 3)
        self.answer(f"{pages}/a%2Fb", {"content": "# Ü"})
        self.answer(f"{pages}/c", {"content": "x" * (11 * 2**20)})
        source = self.source()
        self.successResultOf(Deferred.fromCoroutine(source.begin()))
        read = self.successResultOf(Deferred.fromCoroutine(source.read(files)))
        self.assertEqual(read[0].data, "# Ü".encode())
        self.assertIsInstance(read[1].data, Unfit)
        self.assertIsInstance(read[2].data, Unreachable)
        for body in (b"<html>", b"[]", b"{}"):
            self.calls.answers[f"{pages}/d"] = OwnAnswer(200, body)
            (page,) = self.successResultOf(Deferred.fromCoroutine(source.read(files[2:])))
            self.assertIsInstance(page.data, Unreachable)
        # Fed, and synced: what has not changed is embedded once.
        embedding = Embedding()
        for written in (2, 0):
            how = HowToEmbed(embedding, EmbeddingModel("m"))
            self.answer(f"{pages}/d", {"content": "# D"})
            database = self.root / "k.db"
            feeding = Feeding(database, how, SameThread(), lambda _: None, Clock())
            report = self.successResultOf(feeding.feed("c", [self.source()]))
            self.assertEqual((report.written, len(report.skipped)), (written, 1))
        self.assertEqual(len(texts(database)), 3)
        self.assertEqual(sum(map(len, embedding.calls)), 2)

    def test_other_hosts_are_not_asked(self) -> None:
        """The token goes nowhere but to the configured GitLab, whatever it answers."""
        for field in ("link", "location"):
            for url in (
                "https://evil.com/x",
                "https://git.corp.com/other",
                "https://git.corp.com.evil.com/gitlab/api/v4/",
                "//evil.com/",
            ):
                sent = f'<{url}>; rel="next"' if field == "link" else url
                status = 200 if field == "link" else 301
                self.calls.answers[self.tree] = OwnAnswer(status, b"[]", **{field: sent})
                self.assertIn("outside of the configured one", self.failure())
        self.assertEqual({urlsplit(url).netloc for url in self.calls.asked}, {"git.corp.com"})

    def test_a_project_that_has_moved(self) -> None:
        """Is followed under the same roof, but not in circles."""
        moved = f"{_URL}/api/v4/projects/7/repository/tree"
        self.calls.answers[self.tree] = OwnAnswer(
            301, b"", location="/gitlab/api/v4/projects/7/repository/tree"
        )
        self.answer(moved, [_entry("a.md")])
        self.assertEqual(len(self.listed()), 1)
        self.calls.answers[moved] = OwnAnswer(301, b"", location=moved)
        self.assertIn("again and again", self.failure())

    def test_answers_that_are_no_list(self) -> None:
        """Nothing is removed because of them."""
        for body in (b"<html>", b"{}", b"[1]", b"[{}]", orjson.dumps([_entry("a.md", "../x")])):
            self.calls.answers[self.tree] = OwnAnswer(200, body)
            self.assertTrue(self.failure())
        for status, word in ((401, "does not let"), (404, "knows no such"), (500, "answered 500")):
            self.calls.answers[self.tree] = OwnAnswer(status, b"")
            self.assertIn(word, self.failure())
        self.calls.answers[self.tree] = NoAnswer("ConnectionLost")
        self.assertIn("ConnectionLost", self.failure())

    def test_pages_without_end(self) -> None:
        """A list that names itself as its next page ends."""
        self.answer(self.tree, [], link=f'<{self.tree}>; rel="next"')
        self.patch(__import__("gptproxy.knowledge.gitlab_source", fromlist=["x"]), "_PAGES_MOST", 3)
        self.assertIn("does not end", self.failure())

    def test_a_wiki_that_cannot_be_read(self) -> None:
        """Leaves the repository, and what was fed of it; one that is switched off is empty."""
        self.answer(self.tree, [])
        for answer, complete in (
            (OwnAnswer(403, b""), False),
            (OwnAnswer(200, b"[{}]"), False),
            (OwnAnswer(404, b""), True),
        ):
            self.calls.answers[self.wiki] = answer
            source = self.source()
            self.successResultOf(Deferred.fromCoroutine(source.begin()))
            self.assertEqual((source.complete, len(source.notes)), (complete, not complete))

    def test_feeding_and_syncing(self) -> None:
        """What has not changed is not downloaded again; what cannot be had now stays."""
        database = self.root / "k.db"
        embedding = Embedding()

        def sync() -> FeedReport:
            self.calls.asked.clear()
            how = HowToEmbed(embedding, EmbeddingModel("m"))
            feeding = Feeding(Path(database), how, SameThread(), lambda _: None, Clock())
            report: FeedReport = self.successResultOf(
                feeding.feed("c", [self.source()], members_only=True)
            )
            return report

        blobs = f"{_PROJECT}/repository/blobs"
        self.answer(
            self.tree,
            [_entry("a.md", "a" * 40), _entry("b.md", "b" * 40), _entry("big.md", "c" * 40)],
        )
        self.answer(
            self.wiki,
            [
                {"slug": "home/x", "content": "# Home", "format": "markdown"},
                {"slug": "o", "content": "org", "format": "org"},
            ],
        )
        self.calls.answers[f"{blobs}/{'a' * 40}/raw"] = OwnAnswer(200, b"# A")
        self.calls.answers[f"{blobs}/{'b' * 40}/raw"] = OwnAnswer(503, b"")
        self.calls.answers[f"{blobs}/{'c' * 40}/raw"] = OwnAnswer(200, b"x" * (11 * 2**20))
        report = sync()
        self.assertEqual((report.written, report.unchanged), (3, 0))
        self.assertEqual(
            [one.reason for one in report.skipped], ["GitLab answered 503", "larger than 10 MiB"]
        )
        told = [
            ("group/sub/project/a.md", "# A"),
            ("group/sub/project/big.md", None),
            ("group/sub/project/-/wikis/home/x", "# Home"),
            ("group/sub/project/-/wikis/o", "org"),
        ]
        self.assertEqual(texts(database), told)
        self.calls.answers[f"{blobs}/{'b' * 40}/raw"] = OwnAnswer(200, b"# B")
        report = sync()
        self.assertEqual((report.written, report.unchanged, len(report.skipped)), (1, 3, 1))
        self.assertEqual(self.calls.asked, [self.tree, self.wiki, f"{blobs}/{'b' * 40}/raw"])
        self.answer(self.tree, [_entry("b.md", "b" * 40)])
        self.calls.answers[self.wiki] = OwnAnswer(502, b"")
        self.assertEqual(sync().removed, 0)
        self.answer(self.wiki, [])
        self.assertEqual(sync().removed, 4)
        self.assertEqual(texts(database), [("group/sub/project/b.md", "# B")])
        self.assertEqual(sum(map(len, embedding.calls)), 4)

    def test_a_download_that_gives_no_answer(self) -> None:
        """Is unreachable, unless it is too large."""
        file = FoundFile("repository:a.md", "a.md", FileFormat.MARKDOWN, "a" * 40)
        url = f"{_PROJECT}/repository/blobs/{'a' * 40}/raw"
        for cause, kind in (("TimeoutError", Unreachable), ("ResponseTooLarge", Unfit)):
            self.calls.answers[url] = NoAnswer(cause)
            (contents,) = self.successResultOf(Deferred.fromCoroutine(self.source().read([file])))
            self.assertIsInstance(contents.data, kind)

    def test_the_token_is_not_told(self) -> None:
        """By no repr."""
        self.assertNotIn(
            "Bearer", repr(GitLabAccess(_URL, {"authorization": "Bearer t"}, self.calls))
        )  # type: ignore[arg-type]  # a stand-in
