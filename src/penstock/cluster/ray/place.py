"""A Ray cluster as a place where instances run."""

from collections.abc import Callable
from pathlib import Path
from threading import Lock

from msgspec.structs import replace

from penstock.cluster.ray.link import Link
from penstock.cluster.ray.parcel import Parcel
from penstock.cluster.ray.remote import Remote
from penstock.core import resources
from penstock.core.errors import LoadFailed
from penstock.core.ports import Apart, Place, Restartable
from penstock.core.spec import Isolation, ModelSpec

KEPT = 64
"""Versions whose digests are remembered."""


class Cluster(Place):
    """``open`` is called by several threads at once."""

    kind: Isolation = "ray"

    def __init__(self, address: str, patience: float) -> None:
        """As in ``[cluster]``; nothing happens before ``join``."""
        self.link = Link(address, patience)
        self._parcels: dict[tuple[object, ...], Parcel] = {}
        self._packing = Lock()

    def join(self) -> None:
        """Blocks; raises BadSetting where the cluster cannot be reached."""
        self.link.open()

    def leave(self) -> None:
        """Blocks for some seconds at most; instances that are left end."""
        self.link.close()

    def takes(self, spec: ModelSpec) -> bool:
        """What was told to run in this process does; a pipeline has nothing that could run elsewhere."""
        return spec.isolation in ("auto", "process") and not spec.steps

    def sized(self, spec: ModelSpec) -> ModelSpec:
        """One instance unless more are named, with the threads that are named, or a thread a core."""
        own = spec.instances
        threads = resources.threads(own.resources, own.threads)
        count = own.count or own.max or own.least
        return replace(spec, instances=replace(own, count=count, threads=threads))

    def open(
        self,
        engine: str,
        spec: ModelSpec,
        files: Path,
        version: str,
        name: str,
        begun: Callable[[Restartable], object],
    ) -> Remote:
        alone = replace(spec, instances=replace(spec.instances, count=1))
        try:
            parcel = self._parcel(files, version, spec.file)
        except OSError as error:
            raise LoadFailed(f"{error.filename or files} cannot be read: {error.strerror or error}") from None
        return Remote(self.link, engine, alone, parcel, str(files.absolute()), name, begun)

    def _parcel(self, files: Path, version: str, file: str) -> Parcel:
        """Read once for all instances of a version, and again when its files have changed."""
        parcel = Parcel(files, version, file)
        with self._packing:
            kept = self._parcels.setdefault(parcel.stamp, parcel)
            while len(self._parcels) > KEPT:
                self._parcels.pop(next(iter(self._parcels)))
        return kept

    def worth(self, session: Apart, sure: float) -> bool:
        """Whether the largest batch that was measured ran for longer than it was on its way.

        What is sent although it takes less costs this machine more than running it here.
        """
        if not isinstance(session, Remote):
            return True
        ran, way = session.spent()
        return ran * sure >= way
