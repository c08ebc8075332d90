"""Real English without a download: paragraphs of the docstrings in packages that are installed."""

import ast
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np

PACKAGES = ("sklearn", "scipy", "numpy")
PROSE = re.compile(r"[A-Z][a-z]*,?(?: [A-Za-z0-9'(),:;.%-]+){4,}\.")
"""Five words or more, without markup, code or formulas."""
LIST = re.compile(r" : |--")
"""Of parameters, or under a heading."""
LONGEST = 120
"""Words."""


def paragraphs(count: int) -> list[str]:
    """So many, of a sentence or several, all different, drawn at random and the same every time.

    Raises ValueError where there are not so many.
    """
    found = sorted({each for text in _docstrings() for each in _prose(text)})
    if len(found) < count:
        raise ValueError(f"the docstrings of {', '.join(PACKAGES)} hold {len(found)} paragraphs, not {count}")
    order = np.random.default_rng(0).permutation(len(found))[:count]
    return [found[at] for at in order]


def _prose(text: str) -> Iterator[str]:
    for lines in re.split(r"\n\s*\n", text):
        joined = re.sub(r"\s+", " ", lines).strip()
        if PROSE.fullmatch(joined) and not LIST.search(joined) and joined.count(" ") < LONGEST:
            yield joined


def _docstrings() -> Iterator[str]:
    for package in PACKAGES:
        spec = find_spec(package)
        if spec is None or spec.origin is None:
            continue
        for file in sorted(Path(spec.origin).parent.rglob("*.py")):
            if "tests" not in file.parts:
                yield from _in_file(file)


def _in_file(file: Path) -> Iterator[str]:
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    try:
        nodes = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, kinds)]
    except (SyntaxError, UnicodeDecodeError):
        return
    for node in nodes:
        text = ast.get_docstring(node)
        if text:
            yield text
