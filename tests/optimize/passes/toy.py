"""Small PyTorch networks, their files as sources of passes, and functions that train them again."""

import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from penstock.core.spec import Instances, ModelSpec, TensorSpec, Torch
from penstock.engines.torch import TorchEngine
from penstock.optimize.messages import Crafted, Make
from penstock.optimize.passes import PASSES, Source
from penstock.optimize.samples import Samples
from penstock.optimize.types import Artefact
from tests.optimize.models import child

SIZE = 8
IMAGE = TensorSpec("image", "FP32", (-1, 1, SIZE, SIZE))
OUTPUTS = (TensorSpec("logits", "FP32", (-1, 10)), TensorSpec("top", "INT64", (-1,)))


def network(wide: int = 32) -> Any:
    """``image`` [n, 1, 8, 8] to ``logits`` [n, 10] and INT64 ``top`` [n]; the same weights every time."""
    import torch
    from torch import nn

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(1, wide, 3, padding=1)
            self.norm = nn.BatchNorm2d(wide)
            self.second = nn.Conv2d(wide, wide, 3, padding=1)
            self.head = nn.Linear(wide, 10)

        def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
            x = torch.relu(self.norm(self.first(image)))
            x = torch.relu(self.second(x)) + x
            logits = self.head(x.mean((2, 3)))
            return {"logits": logits, "top": logits.argmax(-1)}

    torch.manual_seed(0)
    return Network().eval().requires_grad_(False)


def fixed() -> Any:
    """The same, but whoever traces it gets it for the number of rows that was traced."""
    made = network()
    inner = made.forward
    made.forward = lambda image: {
        name: each.reshape(len(image), *each.shape[1:]) for name, each in inner(image).items()
    }
    return made


def finetune(module: Any) -> None:
    """A few steps toward made-up labels; raises where it is not handed over to be trained."""
    import torch

    assert module.training
    assert all(each.requires_grad for each in module.parameters())
    images, labels = torch.rand(16, 1, SIZE, SIZE), torch.arange(16) % 10
    optimizer = torch.optim.SGD(module.parameters(), 0.1)
    for _ in range(3):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(module(images)["logits"], labels).backward()
        optimizer.step()


def fails(module: Any) -> None:
    raise RuntimeError("there is no data here")


def forgets(module: Any) -> Any:
    return 3


def replaces(module: Any) -> Any:
    """A network that gives other outputs."""
    import torch

    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(SIZE * SIZE, 7))


def weights(folder: Path) -> Path:
    from safetensors.torch import save_model

    save_model(network(), str(folder / "model.safetensors"))
    return folder / "model.safetensors"


def state(folder: Path) -> Path:
    import torch

    torch.save(network().state_dict(), folder / "model.pt")
    return folder / "model.pt"


def script(folder: Path) -> Path:
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated, and says so at every step
        made = torch.jit.trace(network(), torch.zeros(2, 1, SIZE, SIZE), strict=False)
        made.save(str(folder / "model.pt"))
    return folder / "model.pt"


def program(folder: Path) -> Path:
    import torch

    rows = torch.export.Dim("rows")
    given = (torch.zeros(3, 1, SIZE, SIZE),)
    made = torch.export.export(network(), given, dynamic_shapes=({0: rows},))
    torch.export.save(made, folder / "model.pt2")
    return folder / "model.pt2"


def passing(folder: Path) -> Path:
    """``image`` to itself and its double."""
    import torch

    class Passing(torch.nn.Module):
        def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return image, image * 2

    rows = torch.export.Dim("rows")
    given = (torch.zeros(3, 1, SIZE, SIZE),)
    made = torch.export.export(Passing(), given, dynamic_shapes=({0: rows},))
    torch.export.save(made, folder / "model.pt2")
    return folder / "model.pt2"


def images(count: int = 6) -> Samples:
    draw = np.random.default_rng(1)
    return Samples(({"image": draw.random((count, 1, SIZE, SIZE), dtype=np.float32)},))


def spec(file: Path, module: str = f"{__name__}:network") -> ModelSpec:
    """Declares the signature, but for an exported program, which tells its own."""
    own = file.suffix == ".safetensors" or file.name == "model.pt"
    return ModelSpec(
        name="toy",
        device="cpu",
        instances=Instances(count=1, threads=1),
        torch=Torch(module=module),
        inputs=(IMAGE,) if own else (),
        outputs=OUTPUTS if own else (),
    )


def source(file: Path, settings: ModelSpec, **told: Any) -> Source:
    """As the optimizer hands it to a pass."""
    artefact = Artefact(name="source", file=str(file), engines=("torch",))
    signature = TorchEngine().open(settings, file).signature
    return Source(artefact=artefact, spec=settings, signature=signature, **told)


def applied(name: str, told: Source, samples: Samples, **options: Any) -> Artefact:
    """In a child process, as the optimizer does."""
    out, data = told.file.parent / "-".join(["made", *map(str, options.values())]), told.file.parent / "rows"
    out.mkdir()
    samples.save(data)
    ask = Make(name, PASSES[name], told, options, name, str(out), str(data), tuple(sys.path))
    return child().ask(ask, Crafted, 120).artefact
