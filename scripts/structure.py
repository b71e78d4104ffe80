"""Print the package's structure: modules per folder, import levels, and the longest functions and modules.

usage: python scripts/structure.py [--write]    --write puts it into docs/structure.md
"""

import ast
import re
import sys
from collections import defaultdict
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
PACKAGE: Final = ROOT / "plugins" / "s3_to_azure"
PAGE: Final = ROOT / "docs" / "structure.md"
_MARKED: Final = re.compile(r"(?<=<!-- structure -->\n).*(?=<!-- /structure -->)", re.DOTALL)
_MOST_ROWS: Final = 12
# Lengths are rounded up to this many lines, so that a small change leaves the page as it is.
_STEP: Final = 10


@dataclass(frozen=True, slots=True)
class Module:
    """A module of the package.

    Attributes:
        name: Dotted, below the package; empty for the package itself.
        lines: Lines of its file.
        imports: The package's modules that it imports, also inside functions.
        functions: Length in lines of each function and method, by qualified name.
    """

    name: str
    lines: int
    imports: frozenset[str]
    functions: Mapping[str, int]

    @property
    def folder(self) -> str:
        """The folder that holds it, as a path below the package; ``.`` for the package's own."""
        return "/".join(self.name.split(".")[:-1]) or "."


def modules(package: Path = PACKAGE) -> dict[str, Module]:
    """Return the package's modules by name, without ``__init__``."""
    names = {
        ".".join(path.relative_to(package).with_suffix("").parts): path
        for path in sorted(package.rglob("*.py"))
        if path.name != "__init__.py"
    }
    found = {}
    for name, path in names.items():
        text = path.read_text(encoding="utf-8")
        tree = ast.parse(text)
        imports = frozenset(_imports(tree, package.name, names.keys()))
        found[name] = Module(name, len(text.splitlines()), imports - {name}, dict(_functions(tree)))
    return found


def _imports(tree: ast.AST, package: str, names: Container[str]) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            candidates = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            candidates = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for candidate in candidates:
            inside = candidate.removeprefix(f"{package}.")
            if inside != candidate and inside in names:
                yield inside


def _functions(tree: ast.AST, prefix: str = "") -> Iterator[tuple[str, int]]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{prefix}{node.name}", (node.end_lineno or node.lineno) - node.lineno + 1
        elif isinstance(node, ast.ClassDef):
            yield from _functions(node, f"{prefix}{node.name}.")


def levels(found: Mapping[str, Module]) -> dict[str, int]:
    """Return each module's level: 1 if it imports no module of the package, else one above the highest it imports.

    Raises:
        ValueError: Modules import each other in a circle.
    """
    known: dict[str, int] = {}

    def level(name: str, above: tuple[str, ...]) -> int:
        if name in above:
            raise ValueError(f"Modules import each other: {' -> '.join((*above, name))}")
        if name not in known:
            known[name] = 1 + max((level(each, (*above, name)) for each in found[name].imports), default=0)
        return known[name]

    for name in found:
        level(name, ())
    return known


def report(found: Mapping[str, Module]) -> str:
    """Return the structure as Markdown tables."""
    heights = levels(found)
    folders = defaultdict(list)
    for module in found.values():
        folders[module.folder].append(module)
    lowest = {folder: min(heights[each.name] for each in inside) for folder, inside in folders.items()}
    lines = [f"{len(found)} modules on {max(heights.values())} import levels.", ""]
    lines += ["| folder | modules | levels |", "| --- | ---: | ---: |"]
    for folder in sorted(folders, key=lambda each: (lowest[each], each)):
        highest = max(heights[each.name] for each in folders[folder])
        span = str(highest) if highest == lowest[folder] else f"{lowest[folder]} to {highest}"
        lines.append(f"| `{folder}` | {len(folders[folder])} | {span} |")
    functions = [
        (length, f"{module.name.replace('.', '/')}.py: {name}")
        for module in found.values()
        for name, length in module.functions.items()
    ]
    sizes = [(module.lines, f"{module.name.replace('.', '/')}.py") for module in found.values()]
    lines += ["", *_longest("function", functions), "", *_longest("module", sizes)]
    return "\n".join(lines) + "\n"


def _longest(title: str, sized: list[tuple[int, str]]) -> Iterator[str]:
    yield f"| longest {title}s | lines |"
    yield "| --- | ---: |"
    rounded = [(-(-length // _STEP) * _STEP, name) for length, name in sized]
    for length, name in sorted(rounded, key=lambda each: (-each[0], each[1]))[:_MOST_ROWS]:
        yield f"| `{name}` | {length} |"


def page(text: str, structure: str) -> str:
    """Return the page with the structure between its markers.

    Raises:
        ValueError: The page has no markers.
    """
    if not _MARKED.search(text):
        raise ValueError(f"{PAGE.name} has no place <!-- structure --> ... <!-- /structure -->")
    return _MARKED.sub(lambda _: structure, text)


def main(arguments: list[str]) -> int:
    """Print the structure, or write it into the page."""
    if arguments not in ([], ["--write"]):
        print(__doc__)
        return 2
    structure = report(modules())
    if arguments:
        PAGE.write_text(page(PAGE.read_text(encoding="utf-8"), structure), encoding="utf-8")
    else:
        print(structure, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
