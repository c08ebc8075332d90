"""What measurements depend on: processor, cores, memory, system, and versions of packages."""

import os
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from penstock.core import machine

PACKAGES = (
    *(
        "penstock",
        "numpy",
        "onnx",
        "onnxruntime",
        "onnxruntime-gpu",
        "openvino",
        "nncf",
        "torch",
        "torch-pruning",
    ),
    *("scikit-learn", "skl2onnx", "xgboost", "xgboost-cpu", "lightgbm", "jax", "tensorrt"),
)


def facts(packages: Sequence[str] = PACKAGES) -> dict[str, Any]:
    """Plain values; versions of those packages that are installed."""
    found = {name: there for name in packages if (there := _version(name))}
    return {
        "processor": machine.processor(),
        "cores": len(machine.cores()),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": found,
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
