"""
Will it run? What ``gptproxy check`` looks at, apart from the configuration's own errors, which loading it tells.

Every look gives :class:`Finding` s: :mod:`~gptproxy.check.files` at modes and owners of what is secret,
:mod:`~gptproxy.check.certificate` at dates and names, :mod:`~gptproxy.check.documents` at the knowledge database,
:mod:`~gptproxy.check.online` at the upstreams and GitLab, without a billed call,
:mod:`~gptproxy.check.objects` at the file of stored objects, :mod:`~gptproxy.check.ports` at who has the ports.
"""

from gptproxy.check.certificate import check_certificate
from gptproxy.check.documents import check_documents
from gptproxy.check.files import check_files
from gptproxy.check.finding import Finding, Level
from gptproxy.check.objects import check_objects
from gptproxy.check.online import check_online
from gptproxy.check.ports import check_ports

__all__ = [
    "Finding",
    "Level",
    "check_certificate",
    "check_documents",
    "check_files",
    "check_objects",
    "check_online",
    "check_ports",
]
