"""JAX programs: names, datatypes, padding, devices, refusals and memory."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from penstock.core.errors import BadSetting, InvalidRequest, LoadFailed
from penstock.core.samples import powers
from penstock.core.spec import Batching, Instances, Jax, ModelSpec, TensorSpec
from penstock.core.tensors import dtype_of
from penstock.engines.jax import JaxEngine, JaxSession
from penstock.engines.jax_devices import choose_device
from penstock.engines.jax_padding import cuts

jax = pytest.importorskip("jax")

import jax.numpy as jnp  # noqa: E402
from jax import export as jax_export  # noqa: E402

from tests.engines.models.jax import export, tensor  # noqa: E402

F32 = np.float32


def load(path: Path, rows: int = 4, pad: bool = True, **settings: Any) -> JaxSession:
    batching, instances = Batching(max_rows=rows), Instances(threads=1)
    spec = ModelSpec(name="m", batching=batching, instances=instances, jax=Jax(pad=pad), **settings)
    return JaxEngine().open(spec, path)


def symbols(text: str, *shapes: tuple[Any, ...]) -> list[Any]:
    """Arguments whose shapes share symbols; ``None`` in a shape is the first of ``text``."""
    first, *_ = jax_export.symbolic_shape(text)
    return [jax.ShapeDtypeStruct(tuple(first if n is None else n for n in shape), F32) for shape in shapes]


# -- the pure parts -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("most", "expected"),
    [(1, [1]), (2, [1, 2]), (3, [1, 2, 3]), (8, [1, 2, 4, 8]), (48, [1, 2, 4, 8, 16, 32, 48])],
)
def test_sizes_are_powers_of_two_and_the_most(most: int, expected: list[int]) -> None:
    assert expected == powers(most)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (0, [(0, 0, 1)]),
        (3, [(0, 3, 4)]),
        (4, [(0, 4, 4)]),
        (9, [(0, 4, 4), (4, 8, 4), (8, 9, 1)]),
    ],
)
def test_rows_are_cut_into_parts_of_sizes_that_are_compiled(rows: int, expected: list[Any]) -> None:
    assert expected == list(cuts(rows, [1, 2, 4]))


CPU0, CUDA0, CUDA1 = (SimpleNamespace(platform=p, id=i) for p, i in (("cpu", 0), ("gpu", 0), ("gpu", 1)))
BOTH = {"cuda": [CUDA0, CUDA1], "cpu": [CPU0]}


@pytest.mark.parametrize(
    ("device", "platforms", "expected"),
    [
        ("auto", ("cpu", "cuda"), CUDA0),
        ("auto", ("cpu",), CPU0),
        ("cuda:1", ("cuda",), CUDA1),
        ("gpu", ("cuda", "rocm"), CUDA0),
        (("tpu", "cpu"), ("cpu", "tpu"), CPU0),
    ],
)
def test_the_best_device_that_the_program_is_for_is_taken(device: Any, platforms: Any, expected: Any) -> None:
    assert choose_device(BOTH, device, platforms, "m") is expected


@pytest.mark.parametrize(
    ("device", "platforms", "message"),
    [
        (
            "auto",
            ("tpu",),
            r"m was exported for tpu, and JAX has cuda \(2\), cpu \(1\) here; export it with pl",
        ),
        ("cuda:2", ("cuda",), r"exported for cuda, device asks for cuda:2, and JAX has cuda \(2\)"),
        ("cuda", ("cpu",), r"exported for cpu, device asks for cuda, and"),
    ],
)
def test_a_device_that_cannot_be_is_refused_with_both_sides(
    device: str, platforms: Any, message: str
) -> None:
    with pytest.raises(LoadFailed, match=message):
        choose_device(BOTH, device, platforms, "m")


def test_an_odd_device_is_refused() -> None:
    with pytest.raises(BadSetting, match="no device 'mps'"):
        choose_device(BOTH, "mps", ("cpu",), "m")


# -- signatures ---------------------------------------------------------------------------------------


def test_names_are_the_keys_and_the_arguments(tmp_path: Path) -> None:
    def run(ids: Any, batch: Any, *, mask: Any) -> Any:
        return {"out": (ids, batch["a"]), "sum": mask + ids}

    x, a, mask = symbols("n", (None, 2), (None, 3), (None, 2))
    session = load(export(tmp_path, run, x, {"a": a}, mask=mask), rows=1)
    assert [spec.name for spec in session.signature.inputs] == ["ids", "a", "mask"]
    assert [spec.name for spec in session.signature.outputs] == ["out.0", "out.1", "sum"]
    inputs = {"mask": np.ones((1, 2), F32), "a": np.full((1, 3), 5, F32), "ids": np.full((1, 2), 2, F32)}
    out = session.run(inputs)
    assert [array.tolist() for array in out.values()] == [[[2, 2]], [[5, 5, 5]], [[3, 3]]]


def test_names_that_two_share_get_their_argument_before_them(tmp_path: Path) -> None:
    x, y = symbols("n", (None,), (None,))
    path = export(tmp_path, lambda left, right: left["x"] - right["x"], {"x": x}, {"x": y})
    session = load(path, rows=1)
    assert [spec.name for spec in session.signature.inputs] == ["left.x", "right.x"]
    assert session.run({"left.x": np.ones(1, F32), "right.x": np.zeros(1, F32)})["output_0"].tolist() == [1]


def test_what_has_no_name_is_counted_or_takes_the_declared_one(tmp_path: Path) -> None:
    path = export(tmp_path, lambda x: (x, x + 1), tensor("b"))
    assert [spec.name for spec in load(path, rows=1).signature.outputs] == ["output_0", "output_1"]
    declared = (TensorSpec("same", "FP32", (-1,)), TensorSpec("more", "FP32", (-1,)))
    assert load(path, rows=1, outputs=declared).signature.outputs == declared


def test_a_declared_signature_must_agree(tmp_path: Path) -> None:
    path = export(tmp_path, lambda x: x, tensor("b, 4"))
    with pytest.raises(BadSetting, match=r"'x' is declared as FP32 \[-1, 5\]; in model.stablehlo it is"):
        load(path, inputs=(TensorSpec("x", "FP32", (-1, 5)),))


@pytest.mark.parametrize(
    "datatype",
    ["BOOL", "UINT8", "UINT32", "INT8", "INT16", "INT64", "UINT64", "FP16", "BF16", "FP32", "FP64"],
)
def test_datatypes_come_through(datatype: str, tmp_path: Path) -> None:
    dtype = dtype_of(datatype)
    with jax.enable_x64(True):
        path = export(tmp_path, lambda x: {"y": x}, tensor("b, 2", dtype))
    session = load(path, rows=1)
    x = np.array([[1, 0]]).astype(dtype)
    big = x if datatype in ("BOOL", "BF16") else x.astype(dtype.newbyteorder(">"))
    assert session.signature.inputs == (TensorSpec("x", datatype, (-1, 2)),)
    for given in (x, big, np.asfortranarray(x)):
        y = session.run({"x": given})["y"]
        assert (y.dtype, y.tolist()) == (dtype, x.tolist())


def test_wide_numbers_are_not_narrowed(tmp_path: Path) -> None:
    with jax.enable_x64(True):
        path = export(tmp_path, lambda x: x + 1, tensor("b", np.int64))
    assert load(path, rows=1).run({"x": np.array([2**40])})["output_0"].tolist() == [2**40 + 1]


def test_a_datatype_without_a_name_in_v2_is_refused(tmp_path: Path) -> None:
    path = export(tmp_path, lambda x: x, tensor("b", ml_dtypes.float8_e4m3fn))
    with pytest.raises(LoadFailed, match="input 'x' is float8_e4m3fn, for which V2 has no datatype"):
        load(path)


# -- padding ------------------------------------------------------------------------------------------


def compiled(session: JaxSession) -> list[int]:
    return sorted(shapes[0][0] for shapes in session._compiled)


def test_no_request_waits_for_a_compilation(tmp_path: Path) -> None:
    session = load(export(tmp_path, lambda x: {"y": x * 2}, tensor("b, 2")), rows=8)
    assert compiled(session) == [1, 2, 4, 8]
    for rows in (0, 1, 3, 5, 7, 8, 9, 20):
        x = np.arange(2 * rows, dtype=F32).reshape(rows, 2)
        assert session.run({"x": x})["y"].tolist() == (2 * x).tolist()
    assert compiled(session) == [1, 2, 4, 8]


def test_rows_that_look_at_each_other_are_never_padded(tmp_path: Path) -> None:
    session = load(export(tmp_path, lambda x: {"y": x - x.mean()}, tensor("b")))
    for x in ([1.0, 2.0, 6.0], [0.0, 3.0, 9.0], [1.0, 2.0, 3.0, 4.0, 5.0]):
        np.testing.assert_allclose(session.run({"x": np.array(x, F32)})["y"], x - np.mean(x), atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "function"),
    [
        ((2, 4), lambda x: x + 1),
        ((None, None), lambda x: x + 1),
        ((None, 2), lambda x: x.reshape(-1)),
        ((None, 2), lambda x: x.sum(0)),
    ],
)
def test_only_an_axis_0_that_is_rows_everywhere_is_padded(
    shape: tuple[Any, ...], function: Any, tmp_path: Path
) -> None:
    session = load(export(tmp_path, function, *symbols("n", shape)))
    assert compiled(session) == []
    x = np.ones([3 if n is None else n for n in shape], F32)
    assert session.run({"x": x})["output_0"].tolist() == function(x).tolist()


def test_a_fixed_batch_is_held(tmp_path: Path) -> None:
    session = load(export(tmp_path, lambda x: x, jax.ShapeDtypeStruct((2, 4), F32)))
    assert session.signature.inputs == (TensorSpec("x", "FP32", (2, 4)),)
    with pytest.raises(InvalidRequest, match=r"shape \[3, 4\]; it must be \[2, 4\]"):
        session.run({"x": np.ones((3, 4), F32)})


def test_other_axes_may_vary_and_rows_are_padded_all_the_same(tmp_path: Path) -> None:
    session = load(export(tmp_path, lambda x: {"y": x.sum(1)}, tensor("b, t")))
    assert compiled(session) == []
    for rows, size in ((3, 5), (3, 7), (2, 7)):
        x = np.ones((rows, size), F32)
        assert session.run({"x": x})["y"].tolist() == [size] * rows
    assert sorted(shapes[0] for shapes in session._compiled) == [(2, 7), (3, 5), (4, 5), (4, 7)]


def test_padding_can_be_turned_off(tmp_path: Path) -> None:
    session = load(export(tmp_path, lambda x: x + 1, tensor("b")), pad=False)
    assert compiled(session) == []
    assert session.run({"x": np.ones(3, F32)})["output_0"].tolist() == [2, 2, 2]
    assert compiled(session) == [3]


def test_sizes_that_the_program_rules_out_are_left_out_and_refused(tmp_path: Path) -> None:
    few = jax_export.symbolic_shape("b", constraints=("b <= 2",))
    session = load(export(tmp_path, lambda x: x + 1, jax.ShapeDtypeStruct(few, F32)), rows=8)
    assert compiled(session) == [1, 2]
    with pytest.raises(InvalidRequest, match=r"takes no inputs of shapes \[3\]: .*constraints"):
        session.run({"x": np.ones(3, F32)})
    most = jax_export.symbolic_shape("b", constraints=("b >= 100",))
    with pytest.raises(LoadFailed, match=r"cannot compile model.stablehlo: .*constraints"):
        load(export(tmp_path, lambda x: x + 1, jax.ShapeDtypeStruct(most, F32)))


# -- files, devices, memory ---------------------------------------------------------------------------


@pytest.mark.parametrize("spoil", [lambda b: b"", lambda b: b"junk" * 30, lambda b: b[: len(b) // 2]])
def test_a_file_of_something_else_is_refused(spoil: Any, tmp_path: Path) -> None:
    path = export(tmp_path, lambda x: x, tensor("b"))
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(
        LoadFailed, match=r"^JAX cannot read model.stablehlo: .*serialize\(\) gives$"
    ) as caught:
        load(path)
    assert str(tmp_path) not in str(caught.value)


def test_a_program_for_another_platform_is_refused_with_both(tmp_path: Path) -> None:
    path = export(tmp_path, lambda x: x, tensor("b"), platforms=("tpu",))
    with pytest.raises(
        LoadFailed, match=r"model.stablehlo was exported for tpu, and JAX has .*cpu \(1\) here"
    ):
        load(path)


def test_a_program_for_several_platforms_runs_on_the_one_there_is(tmp_path: Path) -> None:
    session = load(export(tmp_path, lambda x: x + 1, tensor("b"), platforms=("cuda", "cpu")), device="cpu")
    assert (session.device, session.concurrency) == ("cpu", 0)
    assert session.run({"x": np.ones(1, F32)})["output_0"].tolist() == [2]


SECOND = """
import sys
from pathlib import Path
import numpy as np
from penstock.core.spec import Batching, ModelSpec
from penstock.engines.jax import JaxEngine
spec = ModelSpec(device="cpu:1", batching=Batching(max_rows=1))
session = JaxEngine().open(spec, Path(sys.argv[1]))
print(session.device, session.run({"x": np.ones(1, np.float32)})["output_0"].tolist())
"""


def test_a_device_with_a_number_is_that_one(tmp_path: Path) -> None:
    path = export(tmp_path, lambda x: x + 1, tensor("b"))
    env = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    done = subprocess.run([sys.executable, "-c", SECOND, path], capture_output=True, text=True, env=env)
    assert (done.stdout, done.stderr) == ("cpu:1 [2.0]\n", "")


@pytest.mark.skipif(jax.default_backend() not in ("gpu", "tpu"), reason="needs a GPU or TPU")
def test_an_accelerator_runs_what_the_cpu_runs(tmp_path: Path) -> None:
    platforms = ("cpu", "cuda", "tpu")
    path = export(
        tmp_path, lambda x: {"y": jnp.tanh(x) @ jnp.ones((2, 2))}, tensor("b, 2"), platforms=platforms
    )
    x = {"x": np.random.default_rng(0).standard_normal((3, 2)).astype(F32)}
    fast = load(path)
    np.testing.assert_allclose(fast.run(x)["y"], load(path, device="cpu").run(x)["y"], rtol=1e-2)
    assert (fast.device.partition(":")[0] in ("cuda", "tpu"), fast.concurrency) == (True, 2)


def test_a_gpus_memory_is_not_taken_beforehand(tmp_path: Path) -> None:
    load(export(tmp_path, lambda x: x, tensor("b")), rows=1)
    assert os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] == "false"


RSS = """
import sys
from pathlib import Path
from penstock.core.spec import Batching, ModelSpec
from penstock.engines.jax import JaxEngine

def once():
    session = JaxEngine().open(ModelSpec(batching=Batching(max_rows=1)), Path(sys.argv[1]))
    session.close()
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6

for _ in range(4):
    before = once()
for _ in range(6):
    after = once()
print(after - before)
"""


def test_closing_one_session_leaves_others_as_they_are(tmp_path: Path) -> None:
    path = export(tmp_path, lambda x: x + 1, tensor("b"))
    one, other = load(path, rows=2), load(path, rows=2)
    one.close()
    assert other.run({"x": np.ones(2, F32)})["output_0"].tolist() == [2, 2]
    assert compiled(other) == [1, 2]
    with pytest.raises(RuntimeError, match="the session is closed"):
        one.run({"x": np.ones(2, F32)})


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads Linux's /proc")
def test_a_closed_session_gives_its_memory_back(tmp_path: Path) -> None:
    """16 MB of weights: six that stayed would be 96 MB; the allocator may keep the room of one."""
    weights = np.random.default_rng(0).standard_normal((2000, 2000)).astype(F32)
    path = export(tmp_path, lambda x: x @ weights, tensor("b, 2000"))
    done = subprocess.run([sys.executable, "-c", RSS, path], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 40, done.stdout
