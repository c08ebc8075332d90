"""What a benchmark asks: random inputs that fit a model's metadata, as whole HTTP requests."""

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import SplitResult

import numpy as np

from penstock.client.codec import encode
from penstock.core.errors import BadSetting
from penstock.core.tensors import Array, dtype_of
from penstock.core.types import Tensors

VARIETY = 16
"""Different bodies, so that nobody answers all of them from one cache line; fewer if they are large."""
MEMORY = 32 << 20
IMAGE_SIDE, OTHER = 224, 16
"""A size for dimensions that the model leaves open: those of rank 4 are mostly images."""


def parse_dims(texts: Iterable[str]) -> dict[str, int]:
    """Sizes by input name, of ``NAME=SIZE``. Raises BadSetting."""
    sizes: dict[str, int] = {}
    for text in texts:
        name, _, size = text.rpartition("=")
        if not name or not size.isdecimal() or not int(size):
            raise BadSetting(f"--dim {text!r} must be NAME=SIZE, as in --dim tokens=128")
        sizes[name] = int(size)
    return sizes


def shape_of(spec: Mapping[str, Any], rows: int, dims: Mapping[str, int]) -> tuple[int, ...]:
    """An input's shape with every open dimension filled: axis 0 with ``rows``, others from ``dims``.

    Raises BadSetting where axis 0 is fixed and not ``rows``.
    """
    shape = [int(size) for size in spec["shape"]]
    if not shape:
        return ()
    if rows not in (1, shape[0]) and shape[0] >= 0:
        raise BadSetting(
            f"input {spec['name']!r} takes exactly {shape[0]} row(s); --rows {rows} does not fit it"
        )
    first = rows if shape[0] < 0 else shape[0]
    size = dims.get(spec["name"], IMAGE_SIDE if len(shape) == 4 else OTHER)
    return (first, *(size if one < 0 else one for one in shape[1:]))


def random_tensor(datatype: str, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Floats in [0, 1), pixels, whole numbers small enough to index with, flags, or short words."""
    if datatype == "BYTES":
        words = np.empty(shape, dtype=object)
        words[...] = b"penstock"
        return words
    dtype = dtype_of(datatype)
    if datatype == "UINT8":
        return rng.integers(0, 256, shape, np.uint8)
    if dtype.kind in "iub":
        return rng.integers(0, 2 if datatype == "BOOL" else 10, shape).astype(dtype)
    return rng.random(shape, np.float32).astype(dtype)


def random_inputs(
    metadata: Mapping[str, Any], rows: int, dims: Mapping[str, int], rng: np.random.Generator
) -> Tensors:
    """Inputs for one request. Raises BadSetting for sizes of inputs that there are not."""
    specs = metadata["inputs"]
    names = [spec["name"] for spec in specs]
    for name in dims:
        if name not in names:
            raise BadSetting(f"--dim: no input {name!r}; have {', '.join(names)}")
    return {s["name"]: random_tensor(s["datatype"], shape_of(s, rows, dims), rng) for s in specs}


def random_bodies(
    metadata: Mapping[str, Any], rows: int, dims: Mapping[str, int], binary: bool, seed: int
) -> list[tuple[dict[str, str], bytes]]:
    """Headers and bodies of infer requests, all of one shape and with different values."""
    rng = np.random.default_rng(seed)
    bodies = [encode(random_inputs(metadata, rows, dims, rng), binary=binary)]
    more = min(VARIETY, MEMORY // len(bodies[0][1])) - 1
    bodies += [encode(random_inputs(metadata, rows, dims, rng), binary=binary) for _ in range(more)]
    return bodies


def http_request(url: SplitResult, path: str, key: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """A whole HTTP/1.1 request; ``url`` is the server's, with whatever path stands before V2's."""
    lines = [
        f"POST {url.path.rstrip('/')}{path} HTTP/1.1",
        f"Host: {url.netloc.rpartition('@')[2]}",
        f"Content-Length: {len(body)}",
        *(f"{name}: {value}" for name, value in headers.items()),
        *([f"Authorization: Bearer {key}"] if key else []),
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body
