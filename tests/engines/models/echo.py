"""A model of the echo engine, which does not read its file."""

from pathlib import Path


def write(folder: Path) -> Path:
    """An empty file, and the settings that name the engine; FP32 ``x`` [-1, -1] to ``y``."""
    path = folder / "1" / "model.echo"
    path.parent.mkdir(parents=True)
    path.touch()
    (folder / "model.toml").write_text('engine = "echo"\n')
    return path
