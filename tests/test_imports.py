"""Data flows one way: edgerec -> converters -> device_runner, and each package imports in that direction only."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# What each package may import of the project's own.
ALLOWED = {
    "device_runner": {"device_runner"},
    "converters": {"converters", "device_runner"},
    "edgerec": {"edgerec", "converters", "device_runner"},
}
# Within edgerec, from the tables to the command line: a part imports none that comes after it.
LAYERS = [
    {"edgerec.errors", "edgerec.artifact", "edgerec.progress"},
    {"edgerec.pruning.criteria"},
    {"edgerec.recipe"},
    {"edgerec.data"},
    {"edgerec.evaluation", "edgerec.recommenders", "edgerec.rankers", "edgerec.baselines"},
    {"edgerec.training"},
    {"edgerec.pruning"},
    {"edgerec.report", "edgerec.gate"},
    {"edgerec.stages"},
    {"edgerec.pipeline"},
    {"edgerec.api", "edgerec.batch", "edgerec.ranking_evaluation", "edgerec.runs", "edgerec.sweep"},
    {"edgerec.cli"},
]


def modules(package: str) -> Iterator[tuple[str, Path]]:
    for path in sorted((ROOT / package).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def imports(path: Path) -> Iterator[str]:
    """Modules that a file imports, but for those that only type checkers see."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, f"{path}: a relative import"
            yield node.module


def layer(module: str) -> int:
    """Place of a module of edgerec in ``LAYERS``; the longest name that fits decides."""
    found = [
        (len(name), place)
        for place, names in enumerate(LAYERS)
        for name in names
        if module == name or module.startswith(name + ".")
    ]
    assert found, f"{module} has no place in LAYERS"
    return max(found)[1]


@pytest.mark.parametrize("package", ALLOWED)
def test_no_import_runs_against_the_direction_of_data(package: str) -> None:
    for module, path in modules(package):
        own = {name.split(".")[0] for name in imports(path)} & set(ALLOWED)
        assert own <= ALLOWED[package], f"{module} imports {own - ALLOWED[package]}"


def test_the_parts_of_the_workstation_import_only_what_comes_before_them() -> None:
    for module, path in modules("edgerec"):
        if module == "edgerec":
            continue
        for name in imports(path):
            if name.startswith("edgerec."):
                assert layer(name) <= layer(module), f"{module} imports {name}, which comes after it"
