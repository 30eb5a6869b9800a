"""
Bash completion, made from the command's own arguments.

    python3 packaging/completion.py FILE
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


def completion() -> str:
    """:return: the script."""
    found = list(words(_parser()))
    follow = "\n".join(
        f'        "{name}") words="{" ".join(after)}" ;;' for name, after, _ in found
    )
    names = "|".join(f'"{name}"' for name, _, _ in found if name)
    valued = "|".join(sorted({name for _, _, options in found for name in options})) or "--"
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


if __name__ == "__main__":
    script = Path(sys.argv[1])
    script.parent.mkdir(parents=True, exist_ok=True)
    script.write_text(completion(), "utf-8")
