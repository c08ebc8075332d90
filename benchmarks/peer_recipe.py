"""What a peer is: the recipe in ``peers/<key>.toml``, and its installation."""

import json
import shutil
import subprocess
import sys
import tomllib
import venv
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent / "peers"
INSTALLED = Path(__file__).parent / ".peers"


class PeerFailedError(Exception):
    """A peer could not be installed, started or trusted; the text says why."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """One way to run a peer: why, what is set (files and environment), and what else for one model."""

    why: str
    set: Mapping[str, str] = field(default_factory=dict)
    medium: Mapping[str, str] = field(default_factory=dict)
    tiny: Mapping[str, str] = field(default_factory=dict)

    def settings(self, model: str) -> dict[str, str]:
        """What is set for this model."""
        return {**self.set, **{"medium": self.medium, "tiny": self.tiny}[model]}


@dataclass(frozen=True, slots=True)
class Peer:
    """A recipe, as read from ``peers/<key>.toml``; ``$words`` in it are filled in at the start."""

    key: str
    name: str
    command: list[str]
    ready: str
    path: str
    request: str
    default: Configuration
    tuned: Configuration | None = None
    warm_up_s: int = 1
    requires: list[list[str]] = field(default_factory=list)
    needs: list[str] = field(default_factory=list)
    prepare: list[list[str]] = field(default_factory=list)
    env: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)

    @property
    def configurations(self) -> dict[str, Configuration]:
        """Default first, tuned if there is one."""
        return {"default": self.default} | ({"tuned": self.tuned} if self.tuned else {})

    @property
    def bin(self) -> Path:
        """Where its commands are; a peer that requires nothing is in this environment."""
        return INSTALLED / self.key / "venv" / "bin" if self.requires else Path(sys.executable).parent

    @property
    def missing(self) -> str:
        """Why it can't be started here, or nothing."""
        absent = [need for need in self.needs if not shutil.which(need)]
        if absent:
            return f"needs {', '.join(absent)} on the PATH"
        if self.requires and _stamp(self).read_text() != json.dumps(self.requires):
            return "not installed as its recipe says; run with --install"
        return ""


def load(key: str) -> Peer:
    """Read ``peers/<key>.toml``."""
    recipe: dict[str, Any] = tomllib.loads((HERE / f"{key}.toml").read_text())
    for name in {"default", "tuned"} & recipe.keys():
        recipe[name] = Configuration(**recipe[name])
    return Peer(key=key, **recipe)


def install(peer: Peer) -> None:
    """Make the peer's own virtual environment from wheels alone, at low priority; raises PeerFailedError."""
    _stamp(peer).unlink()
    venv.create(peer.bin.parent, clear=True, symlinks=True, with_pip=True)
    for group in peer.requires:
        pip = ["nice", "-n", "15", str(peer.bin / "pip"), "install", "--quiet", "--only-binary=:all:", *group]
        done = subprocess.run(pip, capture_output=True, text=True, check=False)
        if done.returncode:
            errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
            raise PeerFailedError(f"pip could not install it: {' '.join(errors)[:300]}")
    _stamp(peer).write_text(json.dumps(peer.requires))


def _stamp(peer: Peer) -> Path:
    stamp = INSTALLED / peer.key / "installed.json"
    stamp.parent.mkdir(parents=True, exist_ok=True)
    stamp.touch()
    return stamp
