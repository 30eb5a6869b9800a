"""
The manual pages, made from what they describe: gptproxy(1) from the command's own arguments, gptproxy.toml(5) from the
commented configuration; gptproxy(8) is ``packaging/gptproxy.8.in`` with the version put in.

    python3 packaging/manual.py DIRECTORY
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from gptproxy import __version__
from gptproxy.command import _parser

ROOT = Path(__file__).resolve().parents[1]
CONFIGURATION = ROOT / "etc" / "gptproxy" / "gptproxy.toml"

_KEY = re.compile(r'#?(?P<name>[A-Za-z_]\w*|"[^"]+") = (?P<value>.*)')
_HEADER = re.compile(r"#?(?P<header>\[{1,2}[a-z_.]+\]{1,2})")
_RULE = re.compile(r"# --- (?P<title>.*?) -+")


def roff(text: str) -> str:
    """:return: text as roff prints it: its own signs escaped, hyphens to be copied."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq")
    return "\n".join("\\&" + line if line.startswith(".") else line for line in escaped.split("\n"))


def head(name: str, section: int, title: str) -> str:
    """:return: how a page begins."""
    return (
        f'.TH {name.upper()} {section} "" "gptproxy {__version__}" "gptproxy"\n'
        f".SH NAME\n{roff(name)} \\- {roff(title)}\n"
    )


# --- gptproxy(1) ----------------------------------------------------------------------------------


def commands(
    parser: argparse.ArgumentParser, above: str = ""
) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """:return: each command that does something, with its name."""
    below = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    if not below:
        yield above, parser
    for action in below:
        for name, inner in action.choices.items():
            yield from commands(inner, f"{above} {name}".strip())


def option_lines(parser: argparse.ArgumentParser) -> Iterator[str]:
    """:return: the arguments of one command."""
    for action in parser._actions:
        if action.dest == "help" or isinstance(action, argparse._SubParsersAction):
            continue
        value = action.metavar or (action.dest.upper() if action.nargs != 0 else "")
        if isinstance(value, tuple):
            value = " ".join(value)
        names = ", ".join(f"\\fB{roff(name)}\\fR" for name in action.option_strings)
        shown = f"{names} \\fI{roff(str(value))}\\fR" if names else f"\\fI{roff(str(value))}\\fR"
        text = (action.help or "").replace("%(default)s", str(action.default)).replace("%%", "%")
        yield f".TP\n{shown.strip() if value else names}\n{roff(text)}\n"


def command_page() -> str:
    """:return: gptproxy(1)."""
    parser = _parser()
    parts = [
        head("gptproxy", 1, "the commands of a gateway for OpenAI clients"),
        ".SH SYNOPSIS\n.B gptproxy\n.I COMMAND\n[\\fIARGUMENT\\fR ...]\n",
        f".SH DESCRIPTION\n{roff(parser.description or '')}\n",
        ".PP\nThe daemon is described in\n.BR gptproxy (8).\n.SH COMMANDS\n",
    ]
    for name, inner in commands(parser):
        arguments = " ".join(inner.format_usage().split()).partition(f"gptproxy {name}")[2]
        parts.append(f".SS gptproxy {roff(name)}{roff(arguments)}\n")
        parts.append(roff(inner.description or "") + "\n")
        parts.extend(option_lines(inner))
    parts.append(
        ".SH EXIT STATUS\n0: done. 1: something could not be done; standard error says what. 2: the command line is "
        "wrong.\n130: interrupted.\n"
        ".SH FILES\n.TP\n.I /etc/gptproxy/gptproxy.toml\nThe configuration, where no other is named.\n"
        ".SH SEE ALSO\n.BR gptproxy (8),\n.BR gptproxy.toml (5)\n"
    )
    return "".join(parts)


# --- gptproxy.toml(5) -----------------------------------------------------------------------------


def configuration_page() -> str:
    """:return: gptproxy.toml(5)."""
    parts = [
        head("gptproxy.toml", 5, "configuration of gptproxy"),
        ".SH SYNOPSIS\n.I /etc/gptproxy/gptproxy.toml\n.SH DESCRIPTION\nThe file as it is shipped, key by key.\n",
    ]
    pending: list[str] = []

    def told() -> str:
        text = roff(re.sub(r"\bDefault:$", "The value shown is the default.", "\n".join(pending)))
        pending.clear()
        return text + "\n" if text else ""

    _, _, text = CONFIGURATION.read_text("utf-8").partition(
        "\n"
    )  # which says what the page's title says
    for line in text.splitlines():
        if title := _RULE.fullmatch(line):
            parts += [told(), f".SH {roff(title['title'].upper())}\n"]
        elif header := _HEADER.fullmatch(line):
            text = told()
            parts.append(f".SS {roff(header['header'])}\n{text}")
        elif key := _KEY.fullmatch(line):
            text = told()
            shown = f"\\fB{roff(key['name'])}\\fR = {roff(key['value'])}"
            parts.append(f".TP\n{shown}\n{text}")
        elif line.startswith("# "):
            pending.append(line.removeprefix("# "))
        elif line in ("#", ""):
            text = told()
            parts.append(text + (".PP\n" if text else ""))
        else:
            pending.append(line.removeprefix("#"))
    parts += [told(), ".SH SEE ALSO\n.BR gptproxy (1),\n.BR gptproxy (8)\n"]
    return "".join(parts)


def main() -> None:
    """Write the pages."""
    directory = Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "gptproxy.1").write_text(command_page(), "utf-8")
    (directory / "gptproxy.toml.5").write_text(configuration_page(), "utf-8")
    daemon = (ROOT / "packaging" / "gptproxy.8.in").read_text("utf-8")
    (directory / "gptproxy.8").write_text(daemon.replace("@VERSION@", __version__), "utf-8")


if __name__ == "__main__":
    main()
