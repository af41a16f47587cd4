"""Rust's syntax as far as `floors` and `measures` need it: comments, texts and tests."""

import re
from collections.abc import Iterator

Span = tuple[int, int]

QUIET = re.compile(
    r"""
    //[^\n]* | /\*.*?\*/
    | \b[bc]?r(\#*)".*?"\1 | (?:\b[bc])?"(?:\\.|[^"\\])*"
    | (?:\bb)?'(?:\\(?:u\{\w+\}|x\w\w|.)|[^\\'])'  # A lifetime begins like a character, and is not closed.
    """,
    re.DOTALL | re.VERBOSE,
)
# Attributes such as `#[serde(with = "crate::time")]` hold a path as text.
PATH_AS_TEXT = re.compile(r'"((?:crate|self|super)::[\w:]+)"')
TEST = re.compile(r"#\[cfg\(\s*(?:all\(\s*)?test\b[^\]]*\]")
MODULE_OF_A_FILE = re.compile(r"\bmod\s+(\w+)\s*;")


def blank(code: str, start: int, end: int) -> str:
    """`code` with spaces from `start` to `end`: offsets and lines stay."""
    return code[:start] + re.sub(r"[^\n]", " ", code[start:end]) + code[end:]


def quiet(text: str) -> str:
    """The code alone, each part of it where it was."""

    def hush(match: re.Match[str]) -> str:
        if path := PATH_AS_TEXT.fullmatch(match[0]):
            return f" {path[1]} "
        return blank(match[0], 0, len(match[0]))

    return QUIET.sub(hush, text)


def end_of_item(code: str, start: int) -> int:
    """Returns the end of the item that begins at `start`: its semicolon, or its last brace."""
    depth = 0
    for at in range(start, len(code)):
        if code[at] in "([{":
            depth += 1
        elif code[at] in ")]}":
            depth -= 1
            if depth < 0:
                return at
        if depth == 0 and code[at] in ";}":
            return at + 1
    return len(code)


def tests(code: str) -> Iterator[Span]:
    """The items of quiet `code` that are compiled for tests only, attribute included."""
    end = 0
    for match in TEST.finditer(code):
        if match.start() >= end:
            end = end_of_item(code, match.start())
            yield match.start(), end


def without_tests(code: str) -> str:
    """Quiet `code` without what is compiled for tests only."""
    for start, end in tests(code):
        code = blank(code, start, end)
    return code


def folder_of_children(file: str) -> str:
    """Returns the folder of the modules that `file` declares, with a slash at the end."""
    folder, _, name = file.rpartition("/")
    own = "" if name in ("lib.rs", "main.rs", "mod.rs") else name.removesuffix(".rs") + "/"
    return (folder + "/" if folder else "") + own


def test_files(file: str, code: str) -> Iterator[str]:
    """Yields each name that a file may have which the quiet `code` of `file` declares for tests."""
    for start, end in tests(code):
        for match in MODULE_OF_A_FILE.finditer(code, start, end):
            yield f"{folder_of_children(file)}{match[1]}.rs"
            yield f"{folder_of_children(file)}{match[1]}/mod.rs"
