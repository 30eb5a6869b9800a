"""
Beside the suite where Debian runs it: modules that need what Debian does not have (the openai client; httptools in a
version that can be used) are left out, and with them whatever imports these.
"""

from __future__ import annotations

import ast
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).parent
absent = {name for name in ("httptools", "openai") if find_spec(name) is None}


def _imports(path: Path) -> set[str]:
    """:return: the modules that a file imports, by their whole names."""
    package = path.relative_to(HERE).parts[:-1]
    found = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else ()
            whole = ".".join((*above, *filter(None, [node.module])))
            found |= {whole, *(f"{whole}.{alias.name}" for alias in node.names)}
    return found


_files = {
    ".".join(path.relative_to(HERE).with_suffix("").parts): path
    for path in (HERE / "tests").rglob("*.py")
}
_needs = {module: _imports(path) for module, path in _files.items()}
_out: set[str] = set()
while grown := {m for m, needs in _needs.items() if m not in _out and needs & (absent | _out)}:
    _out |= grown

# A folder whose conftest.py cannot be imported goes as a whole.
collect_ignore = [
    str(_files[module].parent if module.endswith(".conftest") else _files[module])
    for module in sorted(_out)
]
