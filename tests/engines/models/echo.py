"""A model of the echo engine, which reads no file."""

from pathlib import Path


def write(folder: Path) -> Path:
    """An empty version and the settings that name the engine."""
    version = folder / "1"
    version.mkdir(parents=True)
    (folder / "model.toml").write_text('engine = "echo"\n')
    return version
