"""
What is in a document: its bytes become text, its text blocks, its blocks passages.

One module for each format. Their parsers are imported when the first document of a kind is read, so
that the daemon, which reads none, has none of them in memory. Formats are told by the file's name.
"""

from gptproxy.knowledge.formats.reading import FileFormat, excerpts_of, format_of

__all__ = ["FileFormat", "excerpts_of", "format_of"]
