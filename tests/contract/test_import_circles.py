"""Import circles: none among the production files, imports inside functions and below TYPE_CHECKING included."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = ("bench", "methods", "tasks", "leaderboard", "tdbench/api")


def _module(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = parts if parts[0] == "tdbench" else ("tdbench", *parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _modules() -> dict[str, Path]:
    files = [ROOT / "tdbench/__init__.py", ROOT / "tdbench/__main__.py"]
    for folder in FOLDERS:
        files += sorted((ROOT / folder).rglob("*.py"))
    return {_module(path): path for path in files}


def _imported(name: str, path: Path) -> Iterator[str]:
    """Yields every dotted name that a file imports, anywhere in it."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package.split(".")[: len(package.split(".")) - node.level + 1]) if node.level else ""
            source = ".".join(part for part in (base, node.module) if part)
            yield from (f"{source}.{alias.name}" for alias in node.names)


def import_graph(modules: dict[str, Path]) -> dict[str, set[str]]:
    """Returns the production files that each file imports.

    Importing a module imports the `__init__` of every package around it too. The packages that a file itself lies in are being imported
    already and count only where the file names something that they define.
    """
    graph: dict[str, set[str]] = {}
    for name, path in modules.items():
        targets: set[str] = set()
        for dotted in _imported(name, path):
            parts = dotted.split(".")
            *around, named = [known for n in range(len(parts)) if (known := ".".join(parts[: n + 1])) in modules] or [
                ""
            ]
            targets |= {named, *(package for package in around if not name.startswith(f"{package}."))}
        graph[name] = (targets & modules.keys()) - {name}
    return graph


def circles(graph: dict[str, set[str]]) -> list[set[str]]:
    """Returns the strongly connected components of more than one file."""

    def reached(start: str, edges: dict[str, set[str]]) -> set[str]:
        seen, stack = {start}, [start]
        while stack:
            new = edges[stack.pop()] - seen
            seen |= new
            stack += new
        return seen

    backwards: dict[str, set[str]] = {name: set() for name in graph}
    for name, targets in graph.items():
        for target in targets:
            backwards[target].add(name)
    left, found = set(graph), []
    while left:
        start = min(left)
        component = reached(start, graph) & reached(start, backwards)
        left -= component
        if len(component) > 1:
            found.append(component)
    return found


def test_no_production_file_imports_itself_by_way_of_others():
    graph = import_graph(_modules())
    assert len(graph) > 100
    lines = []
    for component in circles(graph):
        lines.append(f"{len(component)} files:")
        lines += [f"  {name} -> {target}" for name in sorted(component) for target in sorted(graph[name] & component)]
    assert not lines, "import circles:\n" + "\n".join(lines)


def test_imports_inside_functions_and_for_types_close_a_circle(tmp_path: Path):
    sources = {
        "tdbench": "",
        "tdbench.a": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from tdbench.b import B\n",
        "tdbench.b": "def late():\n    from tdbench import c\n",
        "tdbench.c": "import tdbench.a\n",
        "tdbench.d": "import tdbench.c\n",
    }
    modules = {}
    for name, text in sources.items():
        modules[name] = tmp_path / f"{name}.py"
        modules[name].write_text(text, encoding="utf-8")
    assert circles(import_graph(modules)) == [{"tdbench.a", "tdbench.b", "tdbench.c"}]
