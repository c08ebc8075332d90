"""What must hold before figures count: answers that repeat, alone or in company, and an exact reference."""

import re

import numpy as np

from penstock.core.samples import near
from penstock.core.tensors import Array
from penstock.optimize.samples import Samples, length

ROUGH = re.compile(r"\b(bf16|f16|fp16|half|tf32|f8\w*|i8|u8|int8)\b", re.IGNORECASE)


def same(left: Samples, right: Samples) -> str:
    """Whether two runs of the same rows agree: empty, or a sentence that says where they do not.

    They agree if text and integers are equal, and floats differ by no more than a part of the output's
    largest value: 1/1000, and 1/50 for outputs of 16 bits (``core.samples.near``).

    That also fits bf16 and int8 inside a model with 32-bit outputs: two runs of it are rounded alike.
    Measured on ONNX Runtime and OpenVINO (MLP, CNN and six transformer layers; fp32, bf16, static int8):
    alone and in batches are equal to 4e-7 of the scale, though the same variants are 2e-3 to 8e-2 away
    from the original.
    Dynamic int8, whose rounding hangs on the whole batch, moves nearly every row by 4e-3 and more.
    A kernel that rounds otherwise at another batch size is taken for such a one: it is then run
    unbatched, which costs speed and is never wrong.
    """
    if [length(group) for group in left.groups] != [length(group) for group in right.groups]:
        return f"one run answered {left.rows} rows, the other {right.rows}"
    for ours, theirs in zip(left.groups, right.groups, strict=True):
        if ours.keys() != theirs.keys():
            return f"one run gave {', '.join(ours)}, the other {', '.join(theirs)}"
        for name, array in ours.items():
            said = _differs(name, array, theirs[name])
            if said:
                return said
    return ""


def _differs(name: str, left: Array, right: Array) -> str:
    if left.shape != right.shape:
        return f"output {name!r} has shape {list(left.shape)} in one run, {list(right.shape)} in the other"
    if near(left, right):
        return ""
    if left.dtype.kind in "OSUbiu":
        rows = int((left != right).reshape(len(left), -1).any(axis=1).sum())
        return f"output {name!r} differs in {rows} of {len(left)} rows"
    a, b = left.astype(np.float64), right.astype(np.float64)
    if not np.array_equal(np.isfinite(a), np.isfinite(b)):
        return f"output {name!r} is no number in one run where it is in the other"
    finite = np.isfinite(a)
    scale = float(np.abs(a[finite]).max())
    gap = float(np.abs(a[finite] - b[finite]).max())
    part = f"{gap / scale:.2g} of its largest value" if scale else f"{gap:.2g}, where one run has zeros"
    return f"output {name!r} differs by up to {part}"


def reference_precision(device: str) -> str:
    """Whether what a session says of its device tells full precision: empty, or what is wrong.

    A device that tells no precision runs what the file says.
    """
    found = ROUGH.search(device)
    if not found:
        return ""
    return f"it ran in {found[0].lower()} on {device}, not in f32; answers can be judged only by an exact run"
