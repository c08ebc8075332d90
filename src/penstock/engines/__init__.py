"""Frameworks by name; each is imported only when a model asks for it."""

ENGINES = {
    "echo": "penstock.engines.echo:EchoEngine",
    "onnx": "penstock.engines.onnx:OnnxEngine",
}
FILES = {".onnx": "onnx"}
"""The engine that a file's ending asks for."""
