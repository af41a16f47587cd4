"""The arrows between the files of a crate, and the circles that they make.

An arrow is a `use`, or a path in the code, of what another file of the crate defines; re-exports
are followed to that file. `mod x;` is no arrow, nor is a re-export of the crate's root that the
root does not use itself. Tests are left out, and a method is not seen: the import of its type is.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from rust_source import blank, end_of_item, folder_of_children, quiet, without_tests

Names = tuple[str, ...]
Read = Callable[[str], str | None]


@dataclass(frozen=True)
class Reference:
    """A path that a file names, and where."""

    path: Names
    at: int
    # The name that a re-export gives to it.
    exported_as: str | None = None


@dataclass(eq=False)
class Module:
    """A module, as far as it is code of its own: without the modules in it, and without tests."""

    file: str
    parent: "Module | None"
    code: str = ""
    children: dict[str, "Module"] = field(default_factory=dict)
    imports: dict[str, Names] = field(default_factory=dict)
    globs: list[Names] = field(default_factory=list)
    defines: set[str] = field(default_factory=set)
    references: list[Reference] = field(default_factory=list)

    def walk(self) -> Iterator["Module"]:
        yield self
        for child in self.children.values():
            yield from child.walk()


@dataclass(frozen=True)
class Arrow:
    source: str
    line: int
    path: str
    target: str
    is_export: bool = False

    def __str__(self) -> str:
        how = " (re-exported)" if self.is_export else ""
        return f"{self.source}:{self.line}  {self.path}{how}  -> {self.target}"


INLINE = re.compile(r"\bmod\s+(\w+)\s*\{")
DECLARED = re.compile(r"\bmod\s+(\w+)\s*;")
USE = re.compile(r"(?P<pub>\bpub\b\s*(?:\([^)]*\)\s*)?)?\buse\s+(?P<tree>[^;]+);")
LEAF = re.compile(r"::|[{},*]|\w+")
VISIBILITY = re.compile(r"\bpub\s*\([^)]*\)")
DEFINED = re.compile(r"\b(?:fn|struct|enum|union|trait|type|const|static|macro_rules!)\s+(?:mut\s+)?(\w+)")
NAMED = re.compile(r"(?<![\w:])[A-Za-z_]\w*(?:\s*::\s*[A-Za-z_]\w*)+")


def leaves(code: str, start: int, end: int) -> Iterator[tuple[Names, str, int]]:
    """The paths of a use tree, the name that each binds, and where its last word is."""
    outer: list[Names] = []
    path: Names = ()
    name, at, is_alias = "", 0, False
    for match in LEAF.finditer(code, start, end):
        word = match[0]
        if word in ",}":
            if name:
                yield path, name, at
            path, name = (outer[-1] if outer else ()), ""
            if word == "}":
                outer.pop()
                path = outer[-1] if outer else ()
        elif word == "{":
            outer.append(path)
            name = ""
        elif word == "::":
            path = path or ("::",)
        elif word == "as":
            is_alias = True
        elif is_alias:
            name, is_alias = word, False
        else:
            at = match.start()
            path, name = (path, path[-1]) if word == "self" and path else ((*path, word), word)
    if name:
        yield path, name, at


def module(read: Read, file: str, parent: Module | None = None) -> Module:
    """The module of a file, with those that it declares."""
    text = read(file)
    if text is None:
        raise SystemExit(f"{file} is not there")
    here = Module(file, parent)
    scope(read, here, without_tests(quiet(text)), folder_of_children(file))
    return here


def scope(read: Read, here: Module, code: str, folder: str) -> None:
    """Fills in what the code of a module says."""
    while inline := INLINE.search(code):
        end = end_of_item(code, inline.end() - 1)
        inner = here.children[inline[1]] = Module(here.file, here)
        only_inner = blank(blank(code, 0, inline.end()), end - 1, len(code))
        scope(read, inner, only_inner, f"{folder}{inline[1]}/")
        code = blank(code, inline.start(), end)
    for declared in DECLARED.finditer(code):
        files = [f"{folder}{declared[1]}.rs", f"{folder}{declared[1]}/mod.rs"]
        there = next((file for file in files if read(file) is not None), files[0])
        here.children[declared[1]] = module(read, there, here)
        code = blank(code, *declared.span())
    here.defines = set(DEFINED.findall(code))
    for use in USE.finditer(code):
        for path, name, at in leaves(code, *use.span("tree")):
            if name == "*":
                path = path[:-1]
                here.globs.append(path)
            else:
                here.imports[name] = path
            here.references.append(Reference(path, at, name if use["pub"] else None))
        code = blank(code, *use.span())
    here.code = VISIBILITY.sub(lambda match: blank(match[0], 0, len(match[0])), code)
    for match in NAMED.finditer(here.code):
        here.references.append(Reference(tuple(re.split(r"\s*::\s*", match[0])), match.start()))


def find(here: Module, path: Names, seen: frozenset[tuple[Module, str]] = frozenset()) -> Module | None:
    """Returns the module that a path names, or that defines its last name, if it is ours."""
    head, rest = path[0], path[1:]
    if head == "crate":
        while here.parent:
            here = here.parent
    elif head in ("self", "super"):
        if head == "super":
            if here.parent is None:
                return None
            here = here.parent
        if rest[:1] == ("super",):
            return find(here, rest, seen)
    elif head in here.children or head in here.imports:
        rest = path
    else:
        return None
    return inside(here, rest, seen)


def inside(here: Module, path: Names, seen: frozenset[tuple[Module, str]]) -> Module | None:
    if not path:
        return here
    name, rest = path[0], path[1:]
    if name in here.children:
        return inside(here.children[name], rest, seen)
    is_new = (here, name) not in seen
    seen |= {(here, name)}
    if name in here.imports:
        # A name that leads back to itself is a crate of the same name.
        return find(here, here.imports[name] + rest, seen) if is_new else None
    if name not in here.defines and is_new:
        for there in (find(here, glob, seen) for glob in here.globs):
            if there and name in there.defines | there.children.keys() | there.imports.keys():
                return inside(there, path, seen)
    return here


def arrows(root: Module) -> list[Arrow]:
    """The first arrow from each file to each other one."""
    found: dict[tuple[str, str], Arrow] = {}
    for here in root.walk():
        for reference in here.references:
            if here is root and reference.exported_as and not used(here, reference.exported_as):
                continue
            there = find(here, reference.path) if reference.path else None
            if there and there.file != here.file:
                line = here.code.count("\n", 0, reference.at) + 1
                is_export = here is not root and reference.exported_as is not None
                arrow = Arrow(here.file, line, "::".join(reference.path), there.file, is_export)
                ends = (here.file, there.file)
                # The first of those that are no mere re-export.
                if ends not in found or (found[ends].is_export and not arrow.is_export):
                    found[ends] = arrow
    return list(found.values())


def used(here: Module, name: str) -> bool:
    """Returns True if code other than a `use` has the name, not after a dot nor as a field's."""
    return re.search(rf"(?<!\w)(?<![^.]\.){re.escape(name)}\b(?!\s*:[^:])", here.code) is not None


def circles(found: list[Arrow]) -> list[list[list[Arrow]]]:
    """Each circle, as short ways round that together go through all of its files."""
    after: dict[str, list[Arrow]] = {}
    for arrow in found:
        after.setdefault(arrow.source, []).append(arrow)

    def ways(start: str) -> dict[str, list[Arrow]]:
        """The shortest way from a file to each that it reaches; to itself, all the way round."""
        reached: dict[str, list[Arrow]] = {}
        queue: list[tuple[str, list[Arrow]]] = [(start, [])]
        for file, way in queue:
            for arrow in after.get(file, []):
                if arrow.target not in reached:
                    reached[arrow.target] = [*way, arrow]
                    queue.append((arrow.target, reached[arrow.target]))
        return reached

    reach = {file: ways(file) for file in after}
    result: list[list[list[Arrow]]] = []
    done: set[str] = set()
    for file in after:
        if file in reach[file] and file not in done:
            circle = {other for other in reach[file] if file in reach.get(other, {})}
            passed: set[str] = set()
            result.append([])
            for other in sorted(circle, key=lambda other: (len(reach[other][other]), other)):
                if other not in passed:
                    result[-1].append(reach[other][other])
                    passed |= {arrow.source for arrow in reach[other][other]}
            done |= circle
    return result
