"""The original: its files, its digest, the passes that may change it, and the layouts there are for it."""

from collections.abc import Mapping, Sequence
from glob import escape
from importlib.util import find_spec
from pathlib import Path

from msgspec import Struct

from penstock.core.errors import BadSetting, LoadFailed
from penstock.core.importing import find
from penstock.core.samples import powers
from penstock.core.schema import nearest
from penstock.core.spec import ModelSpec
from penstock.engines import FILES, usual
from penstock.engines.cache import digest
from penstock.optimize.passes import PASSES, STAGES, Pass
from penstock.optimize.types import Artefact
from penstock.optimize.version import RECORD
from penstock.repository.locate import Located
from penstock.repository.spec import SPEC

SOURCE = "source"
"""The original's name among artefacts."""


class Known(Struct, frozen=True):
    """A pass that may be used: where it is found, and when it is tried."""

    where: str
    stage: str


def files(located: Located) -> list[Path]:
    """All that belongs to a version: what lies in its folder, or begins with a lone file's name; absolute."""
    folder = located.file.absolute().parent
    if located.folder is None:
        beside = folder.glob(f"{escape(located.file.stem)}.*")
        return sorted(each for each in beside if each.is_file())
    inside = folder.rglob("*")
    return sorted(each for each in inside if each.is_file() and each.name not in (SPEC, RECORD))


def sha256(located: Located) -> str:
    """Of all its files; blocks."""
    return digest(*files(located))


def original(located: Located) -> Artefact:
    """Raises LoadFailed where no engine reads it."""
    spec, file = located.spec, located.file
    first = spec.engine or usual(file.name)
    if not first:
        raise LoadFailed(f"no engine for {file.name}; have {', '.join(FILES)}")
    others = FILES.get(file.name) or FILES.get(file.suffix, ())
    return Artefact(
        name=SOURCE,
        file=str(file.absolute()),
        engines=(first, *(name for name in others if name != first)),
        bytes=sum(each.stat().st_size for each in files(located)),
    )


def layouts(spec: ModelSpec, cores: int) -> tuple[tuple[int, int], ...]:
    """(instances, threads) to try: all cores in each of the ways to share them; what is set is kept. Pure."""
    count, threads = spec.instances.count, spec.instances.threads
    if count and threads:
        return ((count, threads),)
    if count:
        return tuple((count, each) for each in powers(max(1, cores // count)))
    if threads:
        return ((max(1, cores // threads), threads),)
    return tuple((max(1, cores // each), each) for each in powers(cores))


def chosen(names: Sequence[str]) -> Mapping[str, Known]:
    """The passes to use: those named, or all; import strings are added. Raises BadSetting."""
    own = [name for name in names if ":" in name]
    kept = [name for name in names if ":" not in name]
    for name in kept:
        if name not in PASSES:
            raise BadSetting(f"no pass {name!r}; {nearest(name, list(PASSES))} (your own: 'module:Class')")
    table = {name: PASSES[name] for name in kept or PASSES} | {name: name for name in own}
    return {name: Known(where, _stage(name, where)) for name, where in table.items()}


def code(names: Sequence[str]) -> list[Path]:
    """The files of those that are import strings: a user's own, which may change at any time."""
    found: list[Path] = []
    for name in sorted(name for name in names if ":" in name):
        try:
            module = find_spec(name.partition(":")[0])
        except (ImportError, ValueError):  # what needs it will say so
            continue
        if module is not None and module.origin and Path(module.origin).is_file():
            found.append(Path(module.origin))
    return found


def _stage(name: str, where: str) -> str:
    made: Pass = find(where, {}, "pass")
    stage = getattr(made, "stage", "")
    if stage not in STAGES:
        raise BadSetting(f"pass {name!r} has stage {stage!r}; have {', '.join(dict.fromkeys(STAGES))}")
    return str(stage)
