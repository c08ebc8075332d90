"""Frameworks by name, and by the files that they read; each is imported only when a model asks for it."""

from pathlib import Path

ENGINES = {
    "echo": "penstock.engines.echo:EchoEngine",
    "jax": "penstock.engines.jax:JaxEngine",
    "lightgbm": "penstock.engines.lightgbm:LightGbmEngine",
    "onnx": "penstock.engines.onnx:OnnxEngine",
    "openvino": "penstock.engines.openvino:OpenVinoEngine",
    "python": "penstock.engines.python:PythonEngine",
    "sklearn": "penstock.engines.sklearn:SklearnEngine",
    "tensorrt": "penstock.engines.tensorrt:TensorRtEngine",
    "torch": "penstock.engines.torch:TorchEngine",
    "xgboost": "penstock.engines.xgboost:XgboostEngine",
}
FILES = {
    ".onnx": ("onnx", "openvino"),
    ".xml": ("openvino",),
    ".pt": ("torch",),
    ".pt2": ("torch",),
    ".safetensors": ("torch",),
    ".plan": ("tensorrt",),
    ".engine": ("tensorrt",),
    ".stablehlo": ("jax",),
    ".skops": ("sklearn",),
    ".pkl": ("sklearn",),
    ".joblib": ("sklearn",),
    ".ubj": ("xgboost",),
    "model.json": ("xgboost",),
    "model.txt": ("lightgbm",),
    "model.py": ("python",),
}
"""The engines that read a file, the usual one first, by its ending; by its whole name where the
ending alone says nothing."""


def reads(file: str, engine: str = "") -> bool:
    """Whether that engine, or any, reads a file of this name."""
    engines = FILES.get(file) or FILES.get(Path(file).suffix, ())
    return engine in engines if engine else bool(engines)


def usual(file: str) -> str:
    """The engine that a file's name asks for; empty where it asks for none."""
    return next(iter(FILES.get(file) or FILES.get(Path(file).suffix, ())), "")
