"""No file over 500 lines, no function over 60, no constructor of more than 7 arguments."""

import ast
from collections.abc import Iterator
from pathlib import Path

HOUSE = Path(__file__).parents[2]
ROOMS = ("smi", "translator", "proxy", "conformance", "manifests", "tests", "benchmarks")
Function = ast.FunctionDef | ast.AsyncFunctionDef


def test_no_file_over_500_lines() -> None:
    assert [str(path) for path in _files() if len(path.read_text().splitlines()) > 500] == []


def test_no_function_over_60_lines() -> None:
    long = [f"{path}:{node.lineno} {node.name}" for path, node in _functions() if _length(node) > 60]

    assert long == []


def test_no_constructor_of_more_than_7_arguments() -> None:
    many = [
        f"{path}:{node.lineno}"
        for path, node in _functions()
        if node.name == "__init__" and len(node.args.args) + len(node.args.kwonlyargs) > 8
    ]

    assert many == []


def _files() -> Iterator[Path]:
    for room in ROOMS:
        yield from sorted((HOUSE / room).rglob("*.py"))


def _functions() -> Iterator[tuple[Path, Function]]:
    for path in _files():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, Function):
                yield path, node


def _length(node: Function) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1
