"""An engine whose runs take as long as its settings say, so that its capacity is known."""

from time import sleep

from penstock.core.spec import Signature, TensorSpec

SIGNATURE = Signature((TensorSpec("x", "FP32", (-1, 1)),), (TensorSpec("y", "FP32", (-1, 1)),))


class SteadyEngine:
    isolation = "process"

    def open(self, spec, files, /):
        sleep(float(spec.parameters.get("start", "0")))
        return Steady(float(spec.parameters["run"]))


class Steady:
    signature = SIGNATURE
    platform = "steady"
    device, threads, concurrency = "cpu", 1, 0

    def __init__(self, run):
        self._run = run

    def run(self, inputs, outputs=(), /):
        sleep(self._run)
        return {"y": inputs["x"].copy()}

    def close(self):
        pass


def write(folder, name="steady", *, run=0.04, start=0.0, version="1", target=1000, settings="", scaling=""):
    """One row a batch; ``settings`` are lines of ``[instances]``, ``scaling`` those of ``[scaling]``."""
    (folder / name / version).mkdir(parents=True)
    (folder / name / version / "model.txt").write_text(f"steady {version}")
    (folder / name / "model.toml").write_text(
        'engine = "tests.e2e.steady:SteadyEngine"\n'
        f"[batching]\nmax_rows = 1\n[target]\np99_ms = {target}\n"
        f"[instances]\nthreads = 1\n{settings}\n[scaling]\n{scaling}\n"
        f'[parameters]\nrun = "{run}"\nstart = "{start}"\n'
    )
