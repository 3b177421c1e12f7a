"""Texts as lines of a file: only "\\n" ends a line, so that ids and titles may hold any other character."""

import json


def escape_line(text: str) -> str:
    """One line of ``items.txt`` or ``titles.txt``: a text with a backslash or line feed in it is written as JSON
    writes it, any other as it is.
    """
    if "\\" in text or "\n" in text:
        return json.dumps(text, ensure_ascii=False)[1:-1]
    return text


def unescape_line(line: str) -> str:
    """The text of a line.

    Raises:
        ValueError: it has an illegal escape, or one that is no character of a text (half of a surrogate pair).
    """
    if "\\" not in line:
        return line
    text = str(json.loads(f'"{line}"'))
    text.encode()
    return text


def encoded_line(text: str) -> bytes:
    """The line of a text in UTF-8; of a text that has no UTF-8, bytes that no line has."""
    return escape_line(text).encode("utf-8", "surrogatepass")
