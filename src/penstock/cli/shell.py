"""How a program of this environment is called from where the user stands."""

import shutil
import sys
from pathlib import Path


def program(name: str) -> str:
    """The bare name where the shell finds this very program by it, else its path (relative, if below)."""
    here = Path(sys.executable).parent / name
    found = shutil.which(name)
    if not here.exists() or (found is not None and Path(found).absolute() == here.absolute()):
        return name
    try:
        return str(here.relative_to(Path.cwd()))
    except ValueError:
        return str(here)
