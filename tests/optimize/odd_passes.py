"""Passes that misbehave, for tests; found by import string."""

import os
import shutil
import sys
import time
from pathlib import Path

import numpy as np

from penstock.optimize.passes import Made


class Copy:
    """Makes the same again."""

    stage = "clean"

    def variants(self, source):
        return [{}] if source.file.suffix == ".onnx" and not source.artefact.steps else []

    def apply(self, source, options, out, samples):
        return Made(file=Path(shutil.copy(source.file, out)), packages=("numpy",))


class Dies(Copy):
    def apply(self, source, options, out, samples):
        print("about to die", file=sys.stderr, flush=True)
        os.kill(os.getpid(), 9)


class Aborts(Copy):
    def apply(self, source, options, out, samples):
        os.abort()


class Hangs(Copy):
    def apply(self, source, options, out, samples):
        time.sleep(600)


class Waits(Copy):
    """Says in a file which process it is, and goes on once nobody wants it to wait."""

    def apply(self, source, options, out, samples):
        mark = Path(os.environ["WAITS"])
        if not mark.exists():
            mark.with_suffix(".part").write_text(str(os.getpid()))
            mark.with_suffix(".part").rename(mark)
            time.sleep(600)
        return super().apply(source, options, out, samples)


class Eats(Copy):
    def apply(self, source, options, out, samples):
        held = []
        while True:
            held.append(np.ones(1 << 22))


class Exits(Copy):
    def apply(self, source, options, out, samples):
        sys.exit("no more")


class Prints(Copy):
    """To the very stream on which answers travel, were it not kept apart."""

    def apply(self, source, options, out, samples):
        print("{}")
        os.write(1, b"noise\n")
        return super().apply(source, options, out, samples)


class Litters(Copy):
    def apply(self, source, options, out, samples):
        Path("litter.txt").write_text("left behind")
        return super().apply(source, options, out, samples)


class Nothing(Copy):
    def apply(self, source, options, out, samples):
        return Made(file=out / "model.onnx")


class Ruins(Copy):
    """Answers that have little to do with the original's: weights of another network."""

    def apply(self, source, options, out, samples):
        import onnx

        model = onnx.load(source.file)
        for weight in model.graph.initializer:
            array = onnx.numpy_helper.to_array(weight)
            if array.dtype == np.float32:
                weight.CopyFrom(onnx.numpy_helper.from_array(-array, weight.name))
        onnx.save(model, out / "model.onnx")
        return Made(file=out / "model.onnx")


class Unstaged:
    stage = "whenever"


class Lean(Copy):
    """Takes the quick twin that a test has laid beside a slow model."""

    def apply(self, source, options, out, samples):
        return Made(file=Path(shutil.copy(source.file.with_name("twin"), out / "model.onnx")))
