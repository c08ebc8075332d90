"""Triton's ensembles as the steps of a pipeline, and back.

There a tensor is written once and steps may stand in any order; here each reads what is written before it.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from msgspec.structs import replace

from penstock.core.errors import BadSetting
from penstock.core.spec import ModelSpec, Step, TensorSpec
from penstock.proto.model_config_pb2 import DataType

PLATFORM = "ensemble"


def read(config: Any) -> ModelSpec:
    """The steps of a ModelConfig with its declared tensors; a spec without steps if it is no ensemble.

    Raises BadSetting for steps that no order could run.
    """
    steps = config.ensemble_scheduling.step
    if not steps:
        if PLATFORM in (config.platform, config.backend):
            raise BadSetting("platform is 'ensemble', but ensemble_scheduling has no step")
        return ModelSpec()
    batched = config.max_batch_size > 0
    inputs = tuple(_tensor(one, batched) for one in config.input)
    outputs = tuple(_tensor(one, batched) for one in config.output)
    found = _in_order(_named([_step(one) for one in steps]), [tensor.name for tensor in inputs])
    return ModelSpec(steps=found, inputs=inputs, outputs=outputs, give=tuple(one.name for one in outputs))


def _step(step: Any) -> Step:
    if not step.model_name:
        raise BadSetting("ensemble_scheduling: a step has no model_name")
    if not step.output_map:
        raise BadSetting(f"ensemble_scheduling: step {step.model_name!r} has no output_map")
    return Step(
        model=step.model_name,
        version=str(step.model_version) if step.model_version > 0 else "",
        inputs=dict(sorted(step.input_map.items())),
        outputs=dict(sorted(step.output_map.items())),
    )


def _named(steps: Sequence[Step]) -> list[Step]:
    """A second step of the same model is called ``model-2``."""
    found: list[Step] = []
    for step in steps:
        same = sum(step.model == other.model for other in found)
        name = f"{step.model}-{same + 1}" if same else step.model
        found.append(replace(step, name=name))
    return found


def _in_order(steps: Iterable[Step], inputs: Sequence[str]) -> tuple[Step, ...]:
    """Each step after those that write what it reads."""
    left = list(steps)
    writers: dict[str, str] = {}
    for step in left:
        for name in step.outputs.values():
            if name in writers or name in inputs:
                other = f"step {writers[name]!r}" if name in writers else "the ensemble's input"
                raise BadSetting(
                    f"ensemble_scheduling: step {step.name!r} writes {name!r}, and so does {other}"
                )
            writers[name] = step.name
    found: list[Step] = []
    there: set[str] = set()
    while left:
        ready = [s for s in left if all(name in there or name not in writers for name in s.inputs.values())]
        if not ready:
            names = ", ".join(repr(step.name) for step in left)
            raise BadSetting(f"ensemble_scheduling: steps {names} wait for each other")
        found += ready
        there.update(name for step in ready for name in step.outputs.values())
        left = [step for step in left if step not in ready]
    return tuple(found)


def _tensor(one: Any, batched: bool) -> TensorSpec:
    kind = DataType.Name(one.data_type).removeprefix("TYPE_")
    if kind == "INVALID":
        raise BadSetting(f"tensor {one.name!r} of an ensemble needs a data_type")
    shape = (-1, *one.dims) if batched else tuple(one.dims)
    return TensorSpec(one.name, "BYTES" if kind == "STRING" else kind, shape)


def write(config: Any, spec: ModelSpec) -> None:
    """The steps into a ModelConfig; conditions, which Triton does not have, as parameters ``when.STEP``."""
    config.platform, config.backend = PLATFORM, ""
    for step in spec.steps:
        config.ensemble_scheduling.step.add(
            model_name=step.model,
            model_version=int(step.version) if step.version.isdecimal() else -1,
            input_map=step.inputs,
            output_map=step.outputs,
        )
        if step.when:
            config.parameters[f"when.{step.name}"].string_value = step.when
