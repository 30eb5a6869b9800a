"""
Completion for bash and for zsh, made from the command's own arguments.

    python3 packaging/completion.py DIRECTORY

writes ``gptproxy`` for bash and ``_gptproxy`` for zsh.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from gptproxy.command import _parser


def words(
    parser: argparse.ArgumentParser, above: str = ""
) -> Iterator[tuple[str, list[str], list[str]]]:
    """:return: for each command and each group of them: what may follow, and which options take a value."""
    below = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    options = [name for a in parser._actions for name in a.option_strings if name.startswith("--")]
    valued = [name for a in parser._actions for name in a.option_strings if a.nargs != 0]
    yield above, [name for a in below for name in a.choices] + options, valued
    for action in below:
        for name, inner in action.choices.items():
            yield from words(inner, f"{above} {name}".strip())


def patterns() -> tuple[str, str, list[tuple[str, str]]]:
    """:return: patterns of ``case``: commands, and options that take a value; and what may follow each command."""
    found = list(words(_parser()))
    names = "|".join(f'"{name}"' for name, _, _ in found if name)
    valued = "|".join(sorted({name for _, _, options in found for name in options})) or "--"
    return names, valued, [(name, " ".join(after)) for name, after, _ in found]


def bash() -> str:
    """:return: the script for bash."""
    names, valued, found = patterns()
    follow = "\n".join(f'        "{name}") words="{after}" ;;' for name, after in found)
    return f"""\
# bash completion for gptproxy; made by packaging/completion.py

_gptproxy() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD-1]}} command= next words word
    for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        next="${{command:+$command }}$word"
        case $next in
            {names}) command=$next ;;
        esac
    done
    case $previous in
        {valued}) compopt -o default; COMPREPLY=(); return ;;
    esac
    words=
    case $command in
{follow}
    esac
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
    [ ${{#COMPREPLY[@]}} -gt 0 ] || compopt -o default
}}
complete -F _gptproxy gptproxy
"""


def zsh() -> str:
    """:return: the script for zsh."""
    names, valued, found = patterns()
    follow = "\n".join(f'    ("{name}") follow=({after}) ;;' for name, after in found)
    return f"""\
#compdef gptproxy
# zsh completion for gptproxy; made by packaging/completion.py

local -a follow
local command= next word
for word in ${{words[2,CURRENT-1]}}; do
    next="${{command:+$command }}$word"
    case $next in
    ({names}) command=$next ;;
    esac
done
case ${{words[CURRENT-1]}} in
    ({valued}) _files; return ;;
esac
case $command in
{follow}
esac
(( $#follow )) && compadd -a follow && return
_files
"""


if __name__ == "__main__":
    directory = Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "gptproxy").write_text(bash(), "utf-8")
    (directory / "_gptproxy").write_text(zsh(), "utf-8")
