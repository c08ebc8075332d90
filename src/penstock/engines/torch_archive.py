"""What a model's file for PyTorch holds, and whether reading it could run code that is no model."""

import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, TypeAlias

from penstock.core.errors import LoadFailed

Kind: TypeAlias = Literal["torchscript", "export", "aoti", "weights"]
KINDS: dict[Kind, str] = {
    "torchscript": "a TorchScript archive",
    "export": "an exported program",
    "aoti": "an AOTInductor package",
    "weights": "a file of weights alone",
}
_WORDS = """
    Abs Add And CeilDiv CeilToInt CleanDiv Eq Equality Float FloatPow FloatTrueDiv FloorDiv FloorToInt Ge
    GreaterThan Gt Identity IntTrueDiv Integer IsNonOverlappingAndDenseIndicator LShift Le LessThan Lt Max Min
    Mod ModularIndexing Mul Ne Not Or Piecewise Pow PowByNatural PythonMod RShift Rational RoundDecimal
    RoundToInt StrictGreaterThan StrictLessThan Symbol ToFloat TruncToFloat TruncToInt Unequality Where Xor
    ceiling floor int_oo oo sqrt
    False True false integer nonnegative positive precision real true
"""
_EXPRESSIONS = frozenset(_WORDS.split())
"""Words in sizes, as sympy writes them; the rest are symbols such as ``s0`` and ``u1``."""
_WORD = re.compile(r"[^\W\d]\w*")
_SYMBOL = re.compile(r"[a-z]+\d+")
_QUOTED = re.compile(r"'([\w.\-]*)'")
_ARITHMETIC = re.compile(r"(?:[\w\s+\-*/%(),<>=!&|~^]|\d\.\d)*")
_PATH = re.compile(r"[\w.#:\-]*")
_FREE = ("metadata", "in_spec", "out_spec", "as_string", "as_strings", "torch_version", "guards_code")
"""Fields that are only ever data (guards are not asked for: ``module(check_guards=False)``)."""


def kind_of(path: Path) -> Kind:
    """By content; what is nothing known counts as weights, for their reader to refuse.

    Raises LoadFailed for an archive that is cut off or too old.
    """
    if path.suffix == ".safetensors":
        return "weights"
    with path.open("rb") as file:
        archive = file.read(2) == b"PK"
    kind = _archive_kind(path) if archive and zipfile.is_zipfile(path) else None
    if kind is None and (archive or path.suffix == ".pt2"):
        raise LoadFailed(f"{path.name} is not a whole archive: cut off, or something else altogether")
    return kind or "weights"


def _archive_kind(path: Path) -> Kind | None:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    if "serialized_exported_program.json" in names:
        raise LoadFailed(f"{path.name} is of PyTorch 2.7 or older; save it again with torch.export.save")
    records = [name.partition("/")[2] for name in names]
    if any(name.startswith("data/aotinductor/") for name in records):
        return "aoti"
    if any(name.startswith("models/") for name in records):
        return "export"
    if "constants.pkl" in records:
        return "torchscript"
    # What is left of an archive that is cut off may end in one that was in it.
    return "weights" if "data.pkl" in records and path.suffix != ".pt2" else None


def check_export(torch: Any, path: Path) -> None:
    """Raises LoadFailed where reading an exported program would unpickle objects, or evaluate text.

    torch.export.load unpickles whatever weights, constants and sample inputs are marked or fail as plain
    ones, and hands sizes to sympify, which evaluates them (torch/_export/serde/serialize.py).
    That a graph calls operators alone it checks by itself.
    Reads with PyTorch's own reader, so that both see the same records.
    """
    reader = torch._C.PyTorchFileReader(str(path))
    for record in reader.get_all_records():
        folder, _, name = record.rpartition("/")
        if folder in ("data/weights", "data/constants"):
            _check_payload(path.name, name, reader.get_record(record))
        elif folder == "data/sample_inputs":
            _check_samples(torch, path.name, reader.get_record(record))
        elif folder == "models":
            _check_text(path.name, json.loads(reader.get_record(record)))


def _check_payload(file: str, name: str, raw: bytes) -> None:
    if name.endswith(".pt"):
        raise LoadFailed(
            f"{file} keeps {name} as a pickle; save it again with this PyTorch's torch.export.save"
        )
    if not name.endswith("_config.json"):
        return
    for key, entry in json.loads(raw)["config"].items():
        if entry["use_pickle"] or not entry["path_name"].startswith(("weight_", "tensor_")):
            raise LoadFailed(f"{file} has {key!r} as a pickled object; only plain tensors are read")


def _check_samples(torch: Any, file: str, raw: bytes) -> None:
    if not raw:
        return
    try:
        torch.load(io.BytesIO(raw), weights_only=True)
    except Exception as error:
        raise LoadFailed(f"{file} has sample inputs that are {forbidden(error)}") from error


def _check_text(file: str, model: Any) -> None:
    """Names become Python code (torch.fx generates a function), and so would what hides in them."""
    for key, text in _texts(model, ""):
        if not (_is_size(text) if key == "expr_str" else _PATH.fullmatch(text)):
            raise LoadFailed(f"{file} has {text[:60]!r} for {key!r}, which is no name or size of a program")


def _is_size(text: str) -> bool:
    bare = _QUOTED.sub(r"\1", text)
    words = _WORD.findall(bare)
    known = all(word in _EXPRESSIONS or _SYMBOL.fullmatch(word) for word in words)
    return known and _ARITHMETIC.fullmatch(bare) is not None


def _texts(value: Any, key: str) -> Iterator[tuple[str, str]]:
    """Every text outside the free fields, keys included, each with the field that it stands in."""
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each, key)
    elif isinstance(value, dict):
        for name, each in value.items():
            yield "name", name
            if name not in _FREE:
                yield from _texts(each, name)


def forbidden(error: Exception) -> str:
    """What is wrong with a pickle that torch.load(weights_only=True) refuses, without its advice."""
    found = re.search(r"GLOBAL (\S+)", str(error))
    name = f" (it has {found[1]})" if found else ""
    return f"no pickle of plain tensors{name}; others may run any code, and are not read"


def may_write(torch: Any, graph_module: Any) -> bool:
    """Whether a graph has operators that write to their arguments, which may be its inputs."""
    operators = [each for each in _targets(graph_module) if isinstance(each, torch._ops.OpOverload)]
    return any(each._schema.is_mutable for each in operators)


def _targets(graph_module: Any) -> Iterator[Any]:
    """What a graph, and those in it, call."""
    for part in graph_module.modules():
        if hasattr(part, "graph"):
            yield from (node.target for node in part.graph.nodes if node.op == "call_function")
