"""Structured pruning: whole channels taken from a PyTorch network, which the user's function trains again."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from penstock.core.errors import LoadFailed, one_line
from penstock.core.importing import find
from penstock.engines.torch_signature import ordered
from penstock.engines.torch_tensors import named
from penstock.optimize.passes import Made, Options, Source, network
from penstock.optimize.samples import Samples

RATIOS = (0.3, 0.5, 0.7)
MULTIPLE = 8
"""Of how many channels a layer is left with: engines compute them in blocks of so many."""


class Prune:
    """``ratio``: share of the channels that are taken, the weakest of each layer first.

    Only with a fine-tuning function, as pruned networks answer badly until they are trained again, and for
    weights with ``[torch] module``. The function is ``"module:function"``, called as
    ``finetune(module) -> module | None``:

    - ``module`` is the pruned nn.Module, on the CPU, in training mode, all its parameters to be trained.
    - It trains in place and returns None, or returns the nn.Module that is to be kept, with the same inputs
      and outputs. Its data is its own: the samples are kept for judging.
    - It may move the module to a GPU, and take as long as the budget lets it.
    - It runs in a process of its own, whose working directory is empty; whatever it raises ends the variant.

    What comes out is ONNX. Layers whose channels are the outputs' are kept whole.
    """

    stage = "prune"

    def variants(self, source: Source, /) -> Sequence[Options]:
        if not source.finetune or network.kind(source) != "weights":
            return ()
        network.require("torch_pruning", "prune", "torch-pruning", "prune")
        network.require("onnx", "prune", "ONNX", "prune")
        return [{"ratio": ratio} for ratio in RATIOS]

    def apply(self, source: Source, options: Options, out: Path, samples: Samples, /) -> Made:
        """Raises LoadFailed where nothing can be pruned, or the function fails."""
        function = find(source.finetune, {}, "finetune")
        program = network.opened(source)
        inner: Any = program.call
        inner.requires_grad_(True)
        before = _parameters(inner)
        _prune(inner, _arguments(source, program.names, samples), float(options["ratio"]))
        if _parameters(inner) >= before:
            raise LoadFailed("no layer has channels that could be taken: the outputs need all of them")
        program.call = _tuned(function, source.finetune, inner).cpu().eval().requires_grad_(False)
        file = network.to_onnx(source, program, samples, out)
        network.check(source, file, "onnx", samples)
        return Made(file=file, packages=("torch", "torch-pruning"))


def _arguments(source: Source, names: Sequence[str], samples: Samples) -> Any:
    """As the engine passes them: by name where the module has such, else by place."""
    arrays = network.examples(source, samples)
    inputs, by_name = ordered(source.signature.inputs, names)
    given = dict(zip(arrays, network.tensors(arrays), strict=True))
    return given if by_name else tuple(given[each.name] for each in inputs)


def _tuned(function: Any, name: str, module: Any) -> Any:
    import torch

    try:
        tuned = function(module.train())
    except Exception as error:
        raise LoadFailed(f"finetune {name!r} failed: {type(error).__name__}: {one_line(error)}") from error
    if tuned is not None and not isinstance(tuned, torch.nn.Module):
        raise LoadFailed(f"finetune {name!r} gave {type(tuned).__name__}; it must give an nn.Module or None")
    return module if tuned is None else tuned


def _prune(module: Any, given: Any, ratio: float) -> None:
    """In place; what no layer can give without another is taken from both."""
    import torch_pruning as tp

    module.eval()
    told = {"example_inputs": given, "output_transform": _differentiable}
    graph = tp.DependencyGraph().build_dependency(module, **told)
    tp.pruner.BasePruner(
        module,
        **told,
        importance=tp.importance.GroupMagnitudeImportance(),
        pruning_ratio=ratio,
        ignored_layers=_of_outputs(graph),
        round_to=MULTIPLE,
    ).step()


def _differentiable(result: Any) -> list[Any]:
    """Outputs that can be followed back; what is an index, say, has no channels."""
    return [each for each in named(result).values() if each.grad_fn is not None]


def _of_outputs(graph: Any) -> list[Any]:
    """Layers whose channels are, or become, the outputs'."""
    return [group[0].dep.target.module for group in graph.get_all_groups() if _reaches_an_end(graph, group)]


def _reaches_an_end(graph: Any, group: Any) -> bool:
    """Whether channels of a group run through a node that nothing follows."""
    nodes = [(each.dep.target, each.dep.handler) for each in group]
    return any(
        not node.outputs and (graph.is_out_channel_pruning_fn(handler) or not _has_weights(node))
        for node, handler in nodes
    )


def _has_weights(node: Any) -> bool:
    return any(True for _ in node.module.parameters())


def _parameters(module: Any) -> int:
    return sum(each.numel() for each in module.parameters())
