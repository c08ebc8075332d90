"""What the declared shapes of two tensors say of each other; -1 is any size; pure."""

from penstock.core.spec import TensorSpec
from penstock.serving.pipeline.condition import Kind


def kind(spec: TensorSpec, has_rows: bool) -> Kind:
    """As conditions see it."""
    if not spec.shape:
        return Kind(spec.datatype, -1)
    values = 1
    for size in spec.shape[1:] if has_rows else spec.shape:
        values = -1 if size < 0 or values < 0 else values * size
    return Kind(spec.datatype, values)


def alike(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    """Whether both may be met by one tensor; no axes may mean that the file does not tell its shape."""
    if not one or not other:
        return True
    return len(one) == len(other) and all(a == b or -1 in (a, b) for a, b in zip(one, other, strict=True))


def narrower(one: tuple[int, ...], other: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(max(a, b) for a, b in zip(one, other, strict=True)) if one and other else one or other


def wider(one: tuple[int, ...], other: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(a if a == b else -1 for a, b in zip(one, other, strict=True)) if one and other else ()


def said(spec: TensorSpec) -> str:
    return f"{spec.datatype} {list(spec.shape)}"
