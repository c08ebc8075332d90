"""One peer as a running server: its folder, its ports, its process tree."""

import os
import signal
import socket
import subprocess
import sysconfig
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from string import Template

from benchmarks.peer_recipe import HERE, Peer, PeerFailedError

SERVER_CORE, LOAD_CORE = 0, 1
_PORTS = ("port", "port2", "port3", "port4", "port5", "port6")
_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_GRACE_S = 4.0


class Server:
    """A peer's processes, all on core 0, in a folder of their own."""

    def __init__(self, peer: Peer, settings: Mapping[str, str], model: Path, work: Path) -> None:
        """Start it; ``model`` is ``<repo>/m/1/model.onnx``.

        Raises PeerFailedError where it can't be.
        """
        work.mkdir(parents=True)
        self.peer = peer
        self.log = work / "server.log"
        self._marker = f"PEER_WORK={work}".encode()
        words = _words(peer, settings, model, work)
        self.base = f"http://127.0.0.1:{words['port']}"
        environment = _environment(words) | {key: words[key] for key in settings}
        environment |= {key: _fill(value, words) for key, value in peer.env.items()}
        for name, text in peer.files.items():
            (work / name).write_text(_fill(text, words))
        for step in peer.prepare:
            self._prepare([_fill(word, words) for word in step], environment)
        with self.log.open("ab") as log:
            self._root = subprocess.Popen(
                ["taskset", "-c", str(SERVER_CORE), *(_fill(word, words) for word in peer.command)],
                env=environment,
                cwd=work,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def ended(self) -> bool:
        """Whether its first process is gone."""
        return self._root.poll() is not None

    def last_words(self) -> str:
        """The last line of its log that says something."""
        lines = self.log.read_text(errors="replace").split("\n")
        return next((line[:200] for line in reversed(lines) if len(line.strip()) > 1), "it said nothing")

    def processes(self) -> set[int]:
        """All its living processes: the descendants, and whoever else carries its folder in the environment.

        Some peers make daemons, which are nobody's children; all of them inherit the environment.
        """
        parents = dict(_parents())
        ours = {pid for pid in parents if pid == self._root.pid or self._marker in _environ(pid)}
        for pid in parents:
            chain, up = {pid}, parents[pid]
            while up in parents and up not in chain and up not in ours:
                chain.add(up)
                up = parents[up]
            if up in ours:
                ours |= chain
        return ours

    def cpu_seconds(self) -> float:
        """User and system time of all its living processes so far."""
        return sum(sum(map(int, stat[11:13])) for stat in self._stats()) / _TICK

    def resident_mib(self) -> float:
        """Resident memory, summed; a page that two of its processes share counts twice."""
        return sum(int(stat[21]) for stat in self._stats()) * _PAGE / 2**20

    def freeze(self) -> None:
        """Stop all its processes where they are, so that an idle server costs the others nothing."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def terminate(self) -> None:
        """Ask all its processes to end."""
        self._signal(signal.SIGTERM)
        self.thaw()

    def stop(self) -> None:
        """End all its processes, politely for a few seconds."""
        self.terminate()
        deadline = time.monotonic() + _GRACE_S
        while self._root.poll() is None or self.processes():
            if time.monotonic() > deadline:
                self._signal(signal.SIGKILL)
            time.sleep(0.05)

    def _prepare(self, command: list[str], environment: Mapping[str, str]) -> None:
        with self.log.open("ab") as log:
            done = subprocess.run(command, env=environment, stdout=log, stderr=log, check=False)
        if done.returncode:
            raise PeerFailedError(f"{command[0]} ended with {done.returncode}; {self.last_words()}")

    def _stats(self) -> Iterator[list[str]]:
        return (stat for pid in self.processes() if (stat := _stat(pid)))

    def _signal(self, number: signal.Signals) -> None:
        for pid in self.processes():
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass


def _words(peer: Peer, settings: Mapping[str, str], model: Path, work: Path) -> dict[str, str]:
    """What the ``$words`` of a recipe stand for."""
    words = dict(zip(_PORTS, _free_ports(len(_PORTS)), strict=True)) | {
        "here": str(HERE),
        "work": str(work),
        "bin": str(peer.bin),
        "python": str(peer.bin / "python"),
        "libdir": str(sysconfig.get_config_var("LIBDIR")),
        "model": str(model),
        "repo": str(model.parents[2]),
    }
    return words | {key: _fill(value, words) for key, value in settings.items()}


def _environment(words: Mapping[str, str]) -> dict[str, str]:
    """The environment here without its Python, and with what the peers' apps read."""
    keep = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV"))}
    peer = {f"PEER_{word.upper()}": words[word] for word in (*_PORTS, "model", "work")}
    paths = {
        "PATH": f"{words['bin']}:{os.environ['PATH']}",
        "PYTHONPATH": words["here"],
        "TMPDIR": words["work"],
    }
    return keep | peer | paths


def _fill(text: str, words: Mapping[str, str]) -> str:
    return Template(text).substitute(words)


def _free_ports(count: int) -> list[str]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [str(each.getsockname()[1]) for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _parents() -> Iterator[tuple[int, int]]:
    """Every living process and its parent."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (stat := _stat(int(entry.name))) and stat[0] != "Z":
            yield int(entry.name), int(stat[1])


def _stat(pid: int) -> list[str]:
    """The fields of /proc/<pid>/stat from the state on (proc(5), field 3), or none if it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _environ(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""
