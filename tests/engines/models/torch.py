"""A small PyTorch network, as an exported program or any other kind of file."""

from pathlib import Path
from typing import Any


def network(hidden: int = 8) -> Any:
    """FP32 ``x`` [n, 4] to ``y`` [n, 3] and INT64 ``top`` [n]; the same weights every time."""
    import torch

    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = torch.nn.Linear(4, hidden)
            self.second = torch.nn.Linear(hidden, 3)

        def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
            y = torch.softmax(self.second(torch.relu(self.first(x))), -1)
            return {"y": y, "top": y.argmax(-1)}

    made = Network().eval().requires_grad_(False)
    for weight in made.parameters():
        weight.copy_(torch.sin(torch.arange(weight.numel()) * 1.7).reshape(weight.shape))
    return made


def program(module: Any, *sizes: tuple[int, ...]) -> Any:
    """Exported for FP32 inputs of these sizes, with a variable axis 0."""
    import torch

    rows = torch.export.Dim("rows")
    inputs = tuple(torch.zeros(size) for size in sizes or ((3, 4),))
    return torch.export.export(module, inputs, dynamic_shapes=tuple({0: rows} for _ in inputs))


def write(folder: Path) -> Path:
    """``folder/1/model.pt2``, an exported program; returns it."""
    import torch

    path = folder / "1" / "model.pt2"
    path.parent.mkdir(parents=True)
    torch.export.save(program(network()), path)
    return path
