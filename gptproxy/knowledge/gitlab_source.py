"""
A GitLab project's repository and wiki, read by its API.

May import the HTTP room and Twisted. The tree tells each file's blob id before anything is
downloaded, and a file is downloaded by that id, so what changes meanwhile cannot mix. Links to
further pages and redirections are followed on the configured GitLab only. Symbolic links and
submodules are passed over. https://docs.gitlab.com/api/repositories/,
https://docs.gitlab.com/api/wikis/, https://docs.gitlab.com/api/rest/#keyset-based-pagination
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from urllib.parse import quote, urlencode, urljoin

import orjson
from attrs import field, frozen
from twisted.internet.defer import Deferred, gatherResults

from gptproxy.http import NoAnswer, OwnAnswer, OwnCalls
from gptproxy.knowledge.errors import Unfit, Unreachable
from gptproxy.knowledge.formats import FileFormat, format_of
from gptproxy.knowledge.formats.reading import largest_bytes
from gptproxy.knowledge.sources import Contents, FoundFile, Skipped, blob_id

__all__ = ["GitLabAccess", "GitLabPlace", "GitLabSource"]

# Downloads at once: 4 files of the largest size are in memory.
_AT_ONCE = 4
# A page of 100 entries is about 30 KiB.
_PAGE_BYTES = 4 * 1024 * 1024
# A wiki comes in one answer, which is not cut into pages, and is in memory then. Of a larger one the pages are listed
# without their texts, and downloaded one by one.
_WIKI_BYTES = 16 * 1024 * 1024
# What JSON makes of a text at most: \u and four digits for a byte.
_JSON_GROWTH = 6
_TOO_LARGE = "ResponseTooLarge"
# 100 entries each: what no repository with documents comes near, and a loop of links would.
_PAGES_MOST = 20_000
_TOTAL_SECONDS = 300.0
_REDIRECTIONS_MOST = 3
_WIKI_FORMATS = {"markdown": FileFormat.MARKDOWN}

_SPEC = re.compile(
    r"gitlab:(?P<project>[\w.-]+(?:/[\w.-]+)+)(?:@(?P<ref>[^:\s]+))?(?::(?P<path>[^\0\n]+))?"
)
_LINK = re.compile(r'<([^>]*)>[^<]*?;\s*rel="?next"?')


@frozen
class GitLabPlace:
    """
    What ``gitlab:group/project[@ref][:path]`` names.

    :param project: the project's full path.
    :param ref: branch, tag or commit; "" for the default branch.
    :param path: folder or file in the repository; "" for all of it, and the wiki.
    """

    project: str
    ref: str
    path: str

    @classmethod
    def parsed(cls, spec: str) -> GitLabPlace | None:
        """
        :param spec: what the operator wrote.
        :return: the place; None where it is none.
        """
        found = _SPEC.fullmatch(spec)
        if found is None:
            return None
        return cls(found["project"], found["ref"] or "", (found["path"] or "").strip("/"))

    def __str__(self) -> str:
        """:return: the place as it is written."""
        ref = f"@{self.ref}" if self.ref else ""
        path = f":{self.path}" if self.path else ""
        return f"gitlab:{self.project}{ref}{path}"


@frozen
class GitLabAccess:
    """
    Which GitLab, and by which right.

    :param url: its base address without a trailing slash.
    :param headers: fields with the token.
    :param calls: makes the calls.
    """

    url: str
    headers: Mapping[str, str] = field(repr=False)
    calls: OwnCalls


class GitLabSource:
    """
    See :class:`~gptproxy.knowledge.sources.Source`.

    :param place: what is read.
    :param access: by which right.
    """

    def __init__(self, place: GitLabPlace, access: GitLabAccess) -> None:
        self._place = place
        self._access = access
        self._base = f"{access.url}/api/v4/projects/{quote(place.project, safe='')}"
        self._files: Iterator[FoundFile] = iter(())
        # A wiki's pages come with the list of them; of a large one what is known is where they are.
        self._pages: dict[str, bytes] = {}
        self._page_urls: dict[str, str] = {}
        self.spec = str(place)
        self.project: str | None = place.project
        self.notes: list[Skipped] = []
        self.complete = True

    async def begin(self) -> int:
        """See :meth:`~gptproxy.knowledge.sources.Source.begin`."""
        files = await self._tree()
        if not self._place.path:
            try:
                files += await self._wiki()
            except Unreachable as error:
                self.complete = False
                self.notes.append(Skipped(f"{self.spec} wiki", str(error)))
        self._files = iter(files)
        return len(files)

    async def some(self, limit: int) -> Sequence[FoundFile]:
        """See :meth:`~gptproxy.knowledge.sources.Source.some`."""
        return list(islice(self._files, limit))

    async def read(self, files: Sequence[FoundFile]) -> Sequence[Contents]:
        """See :meth:`~gptproxy.knowledge.sources.Source.read`."""
        reading = [Deferred.fromCoroutine(self._contents(one)) for one in files[:_AT_ONCE]]
        return await gatherResults(reading, consumeErrors=True)

    async def _contents(self, file: FoundFile) -> Contents:
        page = self._pages.pop(file.location, None)
        if page is not None:
            return Contents(file, page)
        most = largest_bytes(file.format)
        too_large = Contents(file, Unfit(f"larger than {most // 2**20} MiB"))
        page_url = self._page_urls.get(file.location)
        url = page_url or f"{self._base}/repository/blobs/{file.blob_id}/raw"
        try:
            answer = await self._get(url, most * (_JSON_GROWTH if page_url else 1))
            if answer.status != 200:
                raise Unreachable(f"GitLab answered {answer.status}")
            data = _page_text(answer.body) if page_url else answer.body
        except Unreachable as error:
            return too_large if _TOO_LARGE in str(error) else Contents(file, error)
        return Contents(file, data) if len(data) <= most else too_large

    async def _tree(self) -> list[FoundFile]:
        path = self._place.path
        files, refused = await self._listing(path, self._file, recursive=True)
        if path and not files:
            # A file is no tree. Its blob id stands in its folder's.
            files, _ = await self._listing(path.rpartition("/")[0], self._named, recursive=False)
        if not files and refused is not None:
            raise Unreachable(_why(refused, "repository"))
        return files

    async def _listing(
        self,
        path: str,
        chosen: Callable[[Mapping[str, object]], FoundFile | None],
        *,
        recursive: bool,
    ) -> tuple[list[FoundFile], OwnAnswer | None]:
        """:return: what is chosen of a folder, and GitLab's answer where it knows no such folder."""
        query = {"recursive": str(recursive).lower(), "per_page": "100", "pagination": "keyset"}
        query |= {"ref": self._place.ref} if self._place.ref else {}
        query |= {"path": path} if path else {}
        url: str | None = f"{self._base}/repository/tree?{urlencode(query)}"
        files: list[FoundFile] = []
        for _ in range(_PAGES_MOST):
            if url is None:
                return files, None
            answer = await self._get(url, _PAGE_BYTES)
            if answer.status == 404 and self._place.path:
                return [], answer
            if answer.status != 200:
                raise Unreachable(_why(answer, "repository"))
            found = (chosen(entry) for entry in _listed(answer.body))
            files += [file for file in found if file is not None]
            url = self._next(answer)
        raise Unreachable("GitLab's list of files does not end")

    def _named(self, entry: Mapping[str, object]) -> FoundFile | None:
        """:return: the file that the operator has named, whatever its name says of it."""
        return self._file(entry, named=True) if entry.get("path") == self._place.path else None

    def _file(self, entry: Mapping[str, object], *, named: bool = False) -> FoundFile | None:
        """:return: a document; None where the entry is none."""
        path, mode, blob = entry.get("path"), entry.get("mode"), entry.get("id")
        if not (isinstance(path, str) and isinstance(mode, str) and isinstance(blob, str)):
            raise Unreachable("GitLab's list of files is not as its API promises")
        found = format_of(path) or (FileFormat.PLAIN if named else None)
        hidden = not named and any(part.startswith(".") for part in path.split("/"))
        if entry.get("type") != "blob" or not mode.startswith("100") or hidden or found is None:
            return None
        if not re.fullmatch("[0-9a-f]{40,64}", blob):
            raise Unreachable("GitLab's list of files has something that is no blob id")
        return FoundFile(f"repository:{path}", f"{self._place.project}/{path}", found, blob)

    async def _wiki(self) -> list[FoundFile]:
        whole = True
        try:
            answer = await self._get(f"{self._base}/wikis?with_content=1", _WIKI_BYTES)
        except Unreachable as error:
            if _TOO_LARGE not in str(error):
                raise
            whole = False
            answer = await self._get(f"{self._base}/wikis", _WIKI_BYTES)
        if answer.status == 404:
            return []  # it is switched off
        if answer.status != 200:
            raise Unreachable(_why(answer, "wiki"))
        return [self._page(entry, whole=whole) for entry in _listed(answer.body)]

    def _page(self, entry: Mapping[str, object], *, whole: bool) -> FoundFile:
        slug, content = entry.get("slug"), entry.get("content") if whole else ""
        if not (isinstance(slug, str) and isinstance(content, str)):
            raise Unreachable("GitLab's wiki is not as its API promises")
        name = f"{self._place.project}/-/wikis/{slug}"
        of = _WIKI_FORMATS.get(str(entry.get("format")), FileFormat.PLAIN)
        location = f"wiki:{slug}"
        if not whole:
            self._page_urls[location] = f"{self._base}/wikis/{quote(slug, safe='')}"
            return FoundFile(location, name, of)
        data = content.encode()
        self._pages[location] = data
        return FoundFile(location, name, of, blob_id(data))

    async def _get(self, url: str, limit: int) -> OwnAnswer:
        for _ in range(_REDIRECTIONS_MOST):
            try:
                answer = await self._access.calls.ask(
                    "GET",
                    url,
                    self._access.headers,
                    limit_bytes=limit,
                    total_seconds=_TOTAL_SECONDS,
                )
            except NoAnswer as no_answer:
                raise Unreachable(f"GitLab gave no answer: {no_answer.cause}") from no_answer
            if answer.status not in (301, 302, 307, 308) or answer.location is None:
                return answer
            # A project that has moved; its new path is under the same roof.
            url = self._pinned(urljoin(url, answer.location))
        raise Unreachable("GitLab redirects again and again")

    def _next(self, answer: OwnAnswer) -> str | None:
        found = _LINK.search(answer.link or "")
        return None if found is None else self._pinned(found[1])

    def _pinned(self, url: str) -> str:
        """:return: the URL. :raise Unreachable: the token must not be sent there."""
        if not url.startswith(f"{self._access.url}/api/v4/"):
            raise Unreachable("GitLab names an address outside of the configured one")
        return url


def _listed(body: bytes) -> list[Mapping[str, object]]:
    try:
        listed = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Unreachable("GitLab's answer is not JSON") from error
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        raise Unreachable("GitLab's answer is not the list that its API promises")
    return listed


def _page_text(body: bytes) -> bytes:
    """:return: a wiki page's text."""
    try:
        page = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Unreachable("GitLab's answer is not JSON") from error
    content = page.get("content") if isinstance(page, dict) else None
    if not isinstance(content, str):
        raise Unreachable("GitLab's wiki is not as its API promises")
    return content.encode()


def _why(answer: OwnAnswer, what: str) -> str:
    if answer.status in (401, 403):
        return f"GitLab does not let the token read the {what} (status {answer.status})"
    if answer.status == 404:
        return f"GitLab knows no such {what}, ref or path, or hides it from the token (status 404)"
    return f"GitLab answered {answer.status} for the {what}"
