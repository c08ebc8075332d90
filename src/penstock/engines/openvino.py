"""OpenVINO: IR and ONNX files on CPUs, and on Intel's GPUs and NPUs."""

from collections.abc import Collection, Mapping, Sequence
from functools import cache
from pathlib import Path
from threading import BoundedSemaphore
from typing import TYPE_CHECKING, Any

from penstock.core.errors import BadSetting, InvalidRequest, LoadFailed, PenstockError
from penstock.core.spec import Isolation, ModelSpec, Signature
from penstock.core.types import Tensors
from penstock.engines.cache import alone, folder
from penstock.engines.files import find
from penstock.engines.memory import trim
from penstock.engines.openvino_options import devices, properties, said
from penstock.engines.openvino_signature import signature
from penstock.engines.openvino_tensors import Fed, feeder, taken
from penstock.engines.require import require, without

if TYPE_CHECKING:
    from openvino import CompiledModel, Core, InferRequest

USUAL_FILES = ("model.xml", "model.onnx")
FORMATS = {".xml": ("ir", "OpenVINO IR"), ".onnx": ("onnx", "ONNX")}
"""OpenVINO's names for the formats, and people's."""


class OpenVinoEngine:
    """Opens a version's ``model.xml`` with its ``.bin``, or its ``model.onnx`` (or ``spec.file``)."""

    isolation: Isolation = "thread"

    def open(self, spec: ModelSpec, files: Path, /) -> "OpenVinoSession":
        """Tries the devices asked for in turn.

        Raises LoadFailed with OpenVINO's reasons, and BadSetting for a property there is not.
        """
        # With this package there it would fork the server and send word of its use to Google.
        with without("openvino_telemetry"):
            require("openvino", "OpenVINO", "openvino")
        path = find(spec, files, *USUAL_FILES)
        _check_format(path)
        core = _core()
        reasons: list[str] = []
        for device in devices(spec, core.available_devices):
            try:
                compiled = _compile(core, spec, path, device)
            except LoadFailed as error:
                reasons.append(str(error))
            else:
                return OpenVinoSession(compiled, signature(path.name, compiled, spec), spec)
        raise LoadFailed("; ".join(dict.fromkeys(reasons)))


class OpenVinoSession:
    """One compiled model, with as many infer requests as there are runs at once, up to a bound.

    ``run`` lets go of the GIL and may be called by several threads at once.
    """

    platform = "openvino"

    def __init__(self, compiled: "CompiledModel", signature: Signature, spec: ModelSpec) -> None:
        self.signature = signature
        self.device = _device(compiled, asked=bool(spec.openvino.precision))
        self.threads = max(1, _number(compiled, "INFERENCE_NUM_THREADS") // _number(compiled, "NUM_STREAMS"))
        best = _number(compiled, "OPTIMAL_NUMBER_OF_INFER_REQUESTS")
        by_cores = self.device.startswith("cpu") and not spec.openvino.hint
        self.concurrency = 0 if by_cores else best
        self._compiled: CompiledModel | None = compiled
        self._bound = BoundedSemaphore(max(best, spec.instances.count))
        self._idle: list[InferRequest] = []
        self._feeders = {tensor.name: feeder(tensor.name, tensor.datatype) for tensor in signature.inputs}
        self._texts = any(tensor.datatype == "BYTES" for tensor in signature.outputs)
        self._outputs = {tensor.name: (i, tensor.datatype) for i, tensor in enumerate(signature.outputs)}

    def run(self, inputs: Tensors, outputs: Sequence[str] = (), /) -> Tensors:
        """Outputs by name; text comes back as ``bytes`` objects.

        The whole model runs whatever is asked for.
        Raises InvalidRequest for names and datatypes that are not the signature's, and RuntimeError
        with what OpenVINO says of the rest.
        """
        if self._compiled is None:
            raise RuntimeError("the session is closed")
        _check_names("output", outputs, self._outputs)
        if inputs.keys() != self._feeders.keys():
            _check_names("input", inputs, self._feeders)
            missing = min(self._feeders.keys() - inputs.keys())
            raise InvalidRequest(f"input {missing!r} is missing; the model takes {', '.join(self._feeders)}")
        fed = [feed(inputs[name]) for name, feed in self._feeders.items()]
        with self._bound:
            request = self._take(self._compiled)
            try:
                _infer(request, fed, texts=self._texts)
                wanted = ((name, *self._outputs[name]) for name in outputs or self._outputs)
                return {
                    name: taken(request.get_output_tensor(place), datatype)
                    for name, place, datatype in wanted
                }
            finally:
                self._idle.append(request)

    def _take(self, compiled: "CompiledModel") -> "InferRequest":
        """The one used last, whose memory is warm, or a new one."""
        try:
            return self._idle.pop()
        except IndexError:
            return compiled.create_infer_request()

    def close(self) -> None:
        """Gives weights, requests and streams back."""
        self._idle.clear()
        self._compiled = None
        trim()


@cache
def _core() -> "Core":
    """One for the process, as OpenVINO advises: each loads the devices' libraries anew."""
    from openvino import Core

    return Core()


def _check_format(path: Path) -> None:
    """OpenVINO by itself would have every other front end try the file, which fills stderr."""
    from openvino.frontend import FrontEndManager

    if path.suffix not in FORMATS:
        raise LoadFailed(f"engine 'openvino' reads {' and '.join(FORMATS)} files, not {path.name}")
    name, words = FORMATS[path.suffix]
    if not FrontEndManager().load_by_framework(name).supported(str(path)):
        raise LoadFailed(f"OpenVINO refuses {path.name}: it is no {words} file, or cut off")


def _compile(core: "Core", spec: ModelSpec, path: Path, device: str) -> "CompiledModel":
    chosen = properties(core, spec, device)
    cached = _cache(spec, path, device)
    if cached:
        chosen = {"CACHE_DIR": str(cached)} | chosen
    try:
        with alone(cached):
            return core.compile_model(_source(core, spec, path), device, chosen)
    except PenstockError:
        raise
    except Exception as error:
        if spec.openvino.properties:
            _check_values(core, device, chosen)
        why = said(error).replace(str(path), path.name).replace(f"{path.parent}/", "")
        advice = "; declare its inputs" if "dynamic rank" in why else ""
        raise LoadFailed(f"OpenVINO refuses {path.name} on {device}: {why}{advice}") from error


def _source(core: "Core", spec: ModelSpec, path: Path) -> Any:
    """The path, which is quicker with a cache; where inputs are declared, the model with their sizes."""
    if not spec.inputs:
        return str(path)
    model = core.read_model(str(path))
    told = signature(path.name, model, spec)
    model.reshape(dict(enumerate([list(tensor.shape) for tensor in told.inputs])))
    return model


def _check_values(core: "Core", device: str, chosen: Mapping[str, Any]) -> None:
    """Raises BadSetting where even a model without work is refused: then it is for its properties."""
    from openvino import Model, Type, opset13

    x = opset13.parameter([1], Type.f32)
    try:
        core.compile_model(Model([opset13.relu(x).output(0)], [x], "nothing"), device, dict(chosen))
    except Exception as error:
        raise BadSetting(f"openvino.properties: {said(error)}") from error


def _cache(spec: ModelSpec, path: Path, device: str) -> Path | None:
    """On the CPU only where the settings name a folder: what it saves there is little.

    OpenVINO keys its entries by the file's path, time and size and the properties, and forgets the
    weights beside the file, which are all those beside an ONNX file for what it tells.
    """
    import openvino

    if device == "CPU" and not spec.cache:
        return None
    files = (path, path.with_suffix(".bin")) if path.suffix == ".xml" else (path.parent,)
    return folder(spec, "openvino", openvino.__version__, *(file for file in files if file.exists()))


def _device(compiled: "CompiledModel", *, asked: bool) -> str:
    """What executes it, and in brackets the precision where it is not f32, or was asked for."""
    names = [
        name.strip("()").lower().replace(".", ":") for name in compiled.get_property("EXECUTION_DEVICES")
    ]
    precision = _ask(compiled, "INFERENCE_PRECISION_HINT")
    word = precision.get_type_name() if precision is not None else "f32"
    told = f" ({word})" if word not in ("f32", "dynamic") or asked else ""
    return "+".join(names) + told


def _ask(compiled: "CompiledModel", name: str) -> Any:
    """None where nobody knows; AUTO knows what the devices that it chose have answered."""
    try:
        return compiled.get_property(name)
    except RuntimeError:
        pass
    try:
        answers = compiled.get_property("DEVICE_PROPERTIES")
    except RuntimeError:
        return None
    return next((answer[name] for answer in answers.values() if name in answer), None)


def _number(compiled: "CompiledModel", name: str) -> int:
    return max(1, int(_ask(compiled, name) or 1))


def _check_names(role: str, names: Collection[str], known: Collection[str]) -> None:
    for name in names:
        if name not in known:
            raise InvalidRequest(f"no {role} {name!r}; have {', '.join(known)}")


def _infer(request: "InferRequest", fed: Sequence[Fed], *, texts: bool) -> None:
    """Synchronous, since the caller owns the thread: a run handed to a stream's thread and back took
    10 to 60 µs more, and requests run side by side all the same.

    But ``infer`` also makes arrays of all outputs, in which OpenVINO 2026.4 crashes on empty text.
    """
    try:
        for place, (_, tensor) in enumerate(fed):
            request.set_input_tensor(place, tensor)
        if texts:
            request.start_async()
            request.wait()
        else:
            request.infer(share_outputs=True)
    except Exception as error:
        raise RuntimeError(said(error)) from error
