"""PyTorch's programs as OpenVINO IR or as ONNX, which other engines run."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from penstock.core.errors import LoadFailed
from penstock.engines.require import without
from penstock.engines.torch_archive import check_export
from penstock.engines.torch_signature import export_outputs, rename
from penstock.engines.torch_tensors import named
from penstock.optimize.passes import Made, Options, Source, network
from penstock.optimize.samples import Samples

FILE = "model.xml"


class Ir:
    """In the precision of the weights; ``to``: ``onnx`` for ONNX, which modules alone are made."""

    stage = "convert"

    def variants(self, source: Source, /) -> Sequence[Options]:
        kind = network.kind(source)
        if kind is None or kind == "aoti":
            return ()
        network.require("openvino", "ir", "OpenVINO", "optimize")
        return ({}, {"to": "onnx"}) if kind == "weights" else ({},)

    def apply(self, source: Source, options: Options, out: Path, samples: Samples, /) -> Made:
        """Raises LoadFailed where it does not come out with the original's signature."""
        if options.get("to") == "onnx":
            network.require("onnx", "ir", "ONNX", "optimize")
            file = network.to_onnx(source, network.opened(source), samples, out)
            network.check(source, file, "onnx", samples)
            return Made(file=file, packages=("onnx", "torch"))
        # With this package there it would send word of its use to Google.
        with without("openvino_telemetry"):
            file = _to_ir(source, samples, out)
        network.check(source, file, "openvino", samples)
        return Made(file=file, packages=("openvino", "torch"))


def _to_ir(source: Source, samples: Samples, out: Path) -> Path:
    import openvino
    import openvino.opset13

    convert = _CONVERTERS[network.kind(source) or "weights"]
    model = _apart(openvino, convert(openvino, source, samples))
    _interface(model, source)
    openvino.save_model(model, out / FILE, compress_to_fp16=False)
    return out / FILE


def _of_weights(openvino: Any, source: Source, samples: Samples) -> Any:
    import torch

    given = network.tensors(network.examples(source, samples))
    module = network.module(source, network.opened(source))
    with torch.no_grad():
        traced = torch.jit.trace(module, given, strict=False, check_trace=False)
        return openvino.convert_model(traced, example_input=given)


def _of_script(openvino: Any, source: Source, samples: Samples) -> Any:
    """As it is, so that loops and branches stay."""
    import torch

    given = network.tensors(network.examples(source, samples))
    script = network.opened(source).call
    with torch.no_grad():
        own = list(named(script(*given)))
        return _served(openvino, openvino.convert_model(script, example_input=given), source, own)


def _of_export(openvino: Any, source: Source, samples: Samples) -> Any:
    """Its sizes are told by itself."""
    import torch
    from torch.export.pt2_archive._package import load_pt2

    check_export(torch, source.file)
    with source.file.open("rb") as file:
        program = next(iter(load_pt2(file).exported_programs.values()))
    own = [name for name, each in export_outputs(torch, program).items() if each]
    return _served(openvino, openvino.convert_model(program), source, own)


_CONVERTERS: dict[str, Callable[[Any, Source, Samples], Any]] = {
    "weights": _of_weights,
    "torchscript": _of_script,
    "export": _of_export,
}


def _served(openvino: Any, model: Any, source: Source, own: Sequence[str]) -> Any:
    """With the outputs of the signature in its order; ``own`` are the program's names for what it gives."""
    if len(model.outputs) != len(own):
        raise LoadFailed(f"OpenVINO makes {len(model.outputs)} outputs of {', '.join(own)}")
    names = rename(source.signature.outputs, own, source.file.name)
    places = [own.index(names[each.name]) for each in source.signature.outputs]
    return openvino.Model([_results(model)[at] for at in places], model.get_parameters(), "model")


def _results(model: Any) -> list[Any]:
    """What the outputs give, as ports of the nodes before them."""
    return [port.get_node().input_value(0) for port in model.outputs]


def _apart(openvino: Any, model: Any) -> Any:
    """With a tensor of its own for each output: one that is an input, or another output, loses its name."""
    seen: set[tuple[str, int]] = set()
    results = []
    for port in _results(model):
        node = port.get_node()
        place = node.get_name(), port.get_index()
        shared = place in seen or node.get_type_name() == "Parameter"
        seen.add(place)
        datatype = port.get_element_type().get_type_name()
        results.append(openvino.opset13.convert(port, datatype).output(0) if shared else port)
    return openvino.Model(results, model.get_parameters(), "model")


def _interface(model: Any, source: Source) -> None:
    """Names and sizes of the signature; names are the nodes', too, which the engine goes by."""
    signature = source.signature
    if (len(model.inputs), len(model.outputs)) != (len(signature.inputs), len(signature.outputs)):
        raise LoadFailed(
            f"OpenVINO leaves {len(model.inputs)} inputs and {len(model.outputs)} outputs; "
            f"the original has {len(signature.inputs)} and {len(signature.outputs)}"
        )
    model.reshape({at: list(tensor.shape) for at, tensor in enumerate(signature.inputs)})
    ports = [*model.inputs, *model.outputs]
    for port in ports:
        port.get_tensor().set_names(set())
    for port, tensor in zip(ports, (*signature.inputs, *signature.outputs), strict=True):
        port.get_tensor().add_names({tensor.name})
        port.get_node().set_friendly_name(tensor.name)
