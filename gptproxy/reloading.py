"""
A new configuration in the place of the old one while the daemon runs: all of it, or nothing.

May import every room below the daemon, and Twisted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import attrs
from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.ssl import CertificateOptions
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger

from gptproxy.config import Secret, Settings
from gptproxy.config.file_reading import read_file
from gptproxy.config.load import LONGEST_FILE
from gptproxy.http import IReactor
from gptproxy.serving import FilesRead, Serving, objects_meaning
from gptproxy.stored_objects import object_table
from gptproxy.tls import server_certificate

__all__ = ["Fresh", "Reloading", "text_of", "unchanged_by_reload"]

_T = TypeVar("_T")


@frozen
class Fresh:
    """
    What was read anew.

    :param settings: the configuration.
    :param files: other files that a serving needs.
    :param certificate: what is to be served with; None where nothing is.
    """

    settings: Settings
    files: FilesRead
    certificate: CertificateOptions | None


class Reloading:
    """
    :param load: reads the configuration; it may block.
    :param reactor: in one of whose threads that is done.
    :param present: the serving in force.
    :param serves_tls: the configured certificate is served with.
    :param adopt: puts a serving, made and able, in the place of the present one; with the new certificate.
    :param environ: the process's.
    """

    _log = Logger()

    def __init__(
        self,
        load: Callable[[], Settings],
        reactor: IReactor,
        present: Callable[[], Serving],
        serves_tls: Callable[[], bool],
        adopt: Callable[[Serving, CertificateOptions | None], None],
        environ: Mapping[str, str],
    ) -> None:
        self._load = load
        self._reactor = reactor
        self._present = present
        self._serves_tls = serves_tls
        self._adopt = adopt
        self._environ = environ

    async def reload(self) -> None:
        """
        Read everything anew, and put it in force.

        :raise gptproxy.config.ConfigurationError: something cannot be used; nothing has changed.
        """
        before = self._present()
        fresh = await self._in_thread(lambda: self._read(before.settings))
        try:
            serving = Serving(fresh.settings, before.ground, fresh.files, before)
        except Exception:
            if fresh.files.table is not None:
                fresh.files.table.close()
            raise
        self._adopt(serving, fresh.certificate)
        for sentence in unchanged_by_reload(before.settings, fresh.settings, self._environ):
            self._log.warn("not changed by a reload: {sentence}", sentence=sentence)

    def _read(self, present: Settings) -> Fresh:
        """Everything that may block, in a thread."""
        settings = self._load()
        certificate = None
        if self._serves_tls():
            certificate = server_certificate(settings.tls, settings.source)
        if settings.knowledge is not None and settings.topics:
            # Brings numpy, if nothing has yet.
            import gptproxy.documents  # noqa: F401 - it is used by who builds the new parts, on the reactor
        table = None
        meaning = objects_meaning(settings)
        if meaning is not None and meaning != objects_meaning(present):
            table = object_table(settings)
        return Fresh(settings, FilesRead(text_of(settings.source), table), certificate)

    def _in_thread(self, work: Callable[[], _T]) -> Deferred[_T]:
        reactor = self._reactor
        return deferToThreadPool(reactor, reactor.getThreadPool(), work)


def text_of(source: str) -> str:
    """
    :param source: where a configuration was read.
    :return: the file's text, to point at its lines; "" where there is none.
    """
    try:
        return read_file(Path(source), LONGEST_FILE, 0.0).decode("utf-8-sig")
    except (OSError, ValueError):
        return ""


def unchanged_by_reload(
    before: Settings, after: Settings, environ: Mapping[str, str]
) -> tuple[str, ...]:
    """
    :param before: the configuration that the process started with, or had last.
    :param after: the one in force now.
    :param environ: the process's.
    :return: a sentence for each thing that stays as it was, because only a start can change it.
    """
    said = []
    if before.process.workers != after.process.workers:
        said.append("[process] workers: restart for another number of processes")
    if before.admin.listen != after.admin.listen:
        said.append("[admin] listen: restart for another listener")
    if before.log.format != after.log.format:
        said.append("[log] format: restart for another form")
    if before.reverse_proxy != after.reverse_proxy and "PROXY" in (
        getattr(before.reverse_proxy, "protocol", ""),
        getattr(after.reverse_proxy, "protocol", ""),
    ):
        said.append("[reverse_proxy]: restart where the PROXY protocol is spoken")
    directory = environ.get("CREDENTIALS_DIRECTORY", "")
    if directory:
        copies = sorted({path.name for path in _files(after) if path.is_relative_to(directory)})
        if copies:
            said.append(
                f"{', '.join(copies)}: systemd copied what LoadCredential= names when the service started; "
                "restart for what has changed since"
            )
    return tuple(said)


def _files(value: Any) -> list[Path]:  # whatever stands in settings
    """:return: the files that the settings name, and those that their secrets were read from."""
    if isinstance(value, Path):
        return [value]
    if isinstance(value, Secret):
        return [value.origin] if value.origin is not None else []
    if attrs.has(type(value)):
        return [p for each in attrs.fields(type(value)) for p in _files(getattr(value, each.name))]
    if isinstance(value, tuple):
        return [path for each in value for path in _files(each)]
    return []
