"""The house's limits, held by a test: sizes, no sleeping tests, and pure layers that stay pure.

Sizes are a ratchet: what is over a limit is listed in KNOWN with its size today, may not grow, and has to leave
the list once it fits.
"""

import ast
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "entourage"
FILE_LINES, FUNCTION_LINES, PARAMETERS = 500, 70, 6

KNOWN: Mapping[str, int] = {}  # "path: what": size; empty it, never fill it

# Layers that take a snapshot and return data. Ports and the spec are pure too, but the one reads its file and the
# other holds the kit that runs drivers.
DECIDING = ("model", "rules", "paths", "realtime", "licences", "planner", "switch", "quorum")
CLOCK_AND_CHANCE = frozenset({"time", "random", "secrets", "uuid"})
OUTSIDE = frozenset({"asyncio", "os", "pathlib", "selectors", "shutil", "signal", "socket", "subprocess", "tempfile",
                     "threading"})  # fmt: skip
NOW = frozenset({"now", "utcnow", "today"})


def sources(*folders: Path) -> Iterator[tuple[str, ast.Module, int]]:
    """Path from the root, tree and number of lines of every Python file."""
    for folder in folders:
        for path in sorted(folder.rglob("*.py")):
            text = path.read_text(encoding="utf-8")
            yield str(path.relative_to(ROOT)), ast.parse(text), len(text.splitlines())


def oversized(path: str, tree: ast.Module, lines: int) -> dict[str, int]:
    """What is over a limit in a file, with its size."""
    found = {f"{path}: lines": lines} if lines > FILE_LINES else {}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > FUNCTION_LINES:
                found[f"{path}: {node.name} lines"] = length
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            count = sum(argument.arg not in {"self", "cls"} for argument in arguments)
            count += (node.args.vararg is not None) + (node.args.kwarg is not None)
            if count > PARAMETERS:
                found[f"{path}: {node.name} parameters"] = count
    return found


def imports(tree: ast.Module) -> Iterator[tuple[int, str, str]]:
    """Line, module and imported name ("" for the module itself) of every import, also inside functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield from ((node.lineno, node.module or "", alias.name) for alias in node.names)


def impurities(tree: ast.Module, banned: frozenset[str]) -> list[str]:
    """Imports of banned modules, and calls that read the clock or open a file; with their lines."""
    found = [f"{line}: {module}" for line, module, _ in imports(tree) if module.partition(".")[0] in banned]
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = node.func
        if isinstance(called, ast.Attribute) and called.attr in NOW:
            found.append(f"{node.lineno}: {called.attr}()")
        if isinstance(called, ast.Name) and called.id in {"open", "print", "input"} and "os" in banned:
            found.append(f"{node.lineno}: {called.id}()")
    return found


def sleeps(tree: ast.Module) -> list[int]:
    """The lines in which `time.sleep` is used, under whatever name the module or the function was imported."""
    modules = {"time"} | {
        alias.asname
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
        if alias.name == "time" and alias.asname
    }
    attributes = [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and node.attr == "sleep"
        and isinstance(node.value, ast.Name)
        and node.value.id in modules
    ]
    return attributes + [line for line, module, name in imports(tree) if (module, name) == ("time", "sleep")]


def test_files_functions_and_signatures_stay_within_their_limits() -> None:
    found: dict[str, int] = {}
    for path, tree, lines in sources(ROOT / "src", ROOT / "tests"):
        found |= oversized(path, tree, lines)
    grown = {what: size for what, size in found.items() if size > KNOWN.get(what, 0)}
    assert not grown, "over the limit: divide it"
    assert not set(KNOWN) - set(found), "fits now: take it off KNOWN"


def test_tests_wait_for_conditions_and_never_sleep() -> None:
    assert {path: lines for path, tree, _ in sources(ROOT / "tests") if (lines := sleeps(tree))} == {}


def test_deciding_layers_use_no_clock_no_chance_and_nothing_outside() -> None:
    folders = [PACKAGE / layer for layer in DECIDING]
    found = {path: bad for path, tree, _ in sources(*folders) if (bad := impurities(tree, CLOCK_AND_CHANCE | OUTSIDE))}
    assert found == {}


def test_spec_and_ports_use_no_clock_and_no_chance() -> None:
    folders = [PACKAGE / "spec", PACKAGE / "ports"]
    assert {path: bad for path, tree, _ in sources(*folders) if (bad := impurities(tree, CLOCK_AND_CHANCE))} == {}


def test_the_model_needs_the_standard_library_only() -> None:
    foreign = {
        f"{path}:{line}": module
        for path, tree, _ in sources(PACKAGE / "model")
        for line, module, _ in imports(tree)
        if module.partition(".")[0] not in sys.stdlib_module_names and not module.startswith("entourage.model")
    }
    assert foreign == {}


def test_test_files_have_names_of_their_own() -> None:
    names = [path.name for path in sorted((ROOT / "tests").rglob("*.py")) if path.name != "conftest.py"]
    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("\n" * 501, {"f.py: lines": 501}),
        ("def f():\n" + "    pass\n" * 70, {"f.py: f lines": 71}),
        ("class C:\n    def f(self, a, b, *c, d, e, f, **g): ...", {"f.py: f parameters": 7}),
        ("def f(a, b, *c, d, e, **g): ...\n" * 500, {}),
    ],
    ids=["file", "function", "parameters", "just-fits"],
)
def test_the_ratchet_sees_what_is_over_a_limit(text: str, found: dict[str, int]) -> None:
    assert oversized("f.py", ast.parse(text), len(text.splitlines())) == found


@pytest.mark.parametrize(
    "text", ["import time\ntime.sleep(1)", "import time as t\nt.sleep(1)", "from time import sleep", "x = time.sleep"]
)
def test_the_ratchet_sees_a_sleep(text: str) -> None:
    assert sleeps(ast.parse(text))


@pytest.mark.parametrize(
    "text",
    ["import random", "from uuid import uuid4", "def f():\n    import time", "datetime.now()", "open('x')",
     "import os.path"],
)  # fmt: skip
def test_the_ratchet_sees_what_is_not_pure(text: str) -> None:
    assert impurities(ast.parse(text), CLOCK_AND_CHANCE | OUTSIDE)
    assert not impurities(ast.parse("import math\nfrom datetime import timedelta"), CLOCK_AND_CHANCE | OUTSIDE)
