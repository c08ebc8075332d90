"""PyTorch sessions: every kind of file, signatures, datatypes, settings, refusals and memory."""

import importlib.util
import io
import json
import os
import pickle
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pytest

from penstock.core.errors import BadSetting, InvalidRequest, LoadFailed
from penstock.core.samples import powers
from penstock.core.spec import Instances, ModelSpec, Signature, TensorSpec, Torch
from penstock.core.tensors import dtype_of, to_bytes
from penstock.engines.torch import TorchEngine, TorchSession
from penstock.engines.torch_graphs import Captured, Graphs, bucket, unfit
from penstock.engines.torch_tensors import DTYPES, named

torch = pytest.importorskip("torch")
nn = torch.nn
Dim = torch.export.Dim


def _models() -> ModuleType:
    """tests/engines/models/torch.py; its name alone would be PyTorch's."""
    path = Path(__file__).parent / "models" / "torch.py"
    spec = importlib.util.spec_from_file_location("torch_models", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


models = _models()
X = (TensorSpec("x", "FP32", (-1, 4)),)
Y = (TensorSpec("y", "FP32", (-1, 3)), TensorSpec("top", "INT64", (-1,)))
ROWS = np.random.default_rng(0).standard_normal((5, 4), dtype=np.float32)


@pytest.fixture(autouse=True)
def nothing_cached(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """No test reads what another has compiled, nor the user's own cache; threads are given back."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def load(files: Path, **settings: Any) -> TorchSession:
    own = {key: settings.pop(key) for key in list(settings) if key in Torch.__struct_fields__}
    instances = Instances(threads=settings.pop("threads", 1))
    return TorchEngine().open(ModelSpec(instances=instances, torch=Torch(**own), **settings), files)


def exported(folder: Path, module: Any, *args: Any, shapes: Any = None, **kwargs: Any) -> Path:
    path = folder / "model.pt2"
    torch.export.save(torch.export.export(module, args, kwargs, dynamic_shapes=shapes), path)
    return path


def scripted(folder: Path, module: Any, *traced: Any) -> Path:
    path = folder / "model.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated, and says so at every step
        made = torch.jit.trace(module, traced) if traced else torch.jit.script(module)
        made.save(str(path))
    return path


def function(call: Callable[..., Any]) -> Any:
    """A module without weights."""
    return type("Function", (nn.Module,), {"forward": lambda self, *args: call(*args)})()


class Plain(nn.Module):
    """What TorchScript can compile from its source."""

    def forward(self, x: torch.Tensor, scale: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x * scale, x.sum(-1)


class Keyed(nn.Module):
    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"double": x * 2, "sum": x.sum(-1)}


class InPlace(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.add_(1)


def expected(x: Any = ROWS) -> dict[str, Any]:
    with torch.inference_mode():
        results = models.network()(torch.from_numpy(x.astype(np.float32)))
        return {name: each.numpy() for name, each in results.items()}


def agrees(session: TorchSession, x: Any = ROWS) -> None:
    right, got = expected(x), session.run({"x": x})
    np.testing.assert_allclose(right["y"], got["y"], rtol=1e-5, atol=1e-6)
    assert right["top"].tolist() == got["top"].tolist()


# -- every kind of file -------------------------------------------------------------------------------


def test_an_exported_program_tells_its_whole_signature(tmp_path: Path) -> None:
    session = load(models.write(tmp_path))
    assert Signature(X, Y) == session.signature
    assert (
        session.platform,
        session.device,
        session.threads,
        session.concurrency,
    ) == ("pytorch_export", "cpu", 1, 0)
    agrees(session)


def test_torchscript_is_told_its_inputs_and_shows_its_outputs(tmp_path: Path) -> None:
    session = load(scripted(tmp_path, Keyed()), inputs=X)
    outputs = (TensorSpec("double", "FP32", (-1, 4)), TensorSpec("sum", "FP32", (-1,)))
    assert (Signature(X, outputs), "pytorch_libtorch") == (session.signature, session.platform)
    got = session.run({"x": ROWS})
    assert ((ROWS * 2).tolist(), (5,)) == (got["double"].tolist(), got["sum"].shape)


def test_torchscript_without_inputs_declared_is_refused_with_what_to_say(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match=r"model.pt \(a TorchScript archive\) does not tell.*\[\[inputs\]\]"):
        load(scripted(tmp_path, Keyed()))


@pytest.mark.parametrize("ending", ["pt", "safetensors"])
def test_weights_alone_need_the_module_that_they_are_of(ending: str, tmp_path: Path) -> None:
    path = weights(tmp_path, ending)
    session = load(path, inputs=X, module=f"{MODULE}:network", arguments={"hidden": 8})
    assert (Signature(X, Y), "pytorch_module") == (session.signature, session.platform)
    agrees(session)


MODULE = "penstock_torch_models"


def weights(folder: Path, ending: str, hidden: int = 8) -> Path:
    """The network's weights, all of them one more than its own; and the module by an importable name."""
    sys.modules[MODULE] = models
    path, state = folder / f"model.{ending}", models.network(hidden).state_dict()
    if ending == "safetensors":
        from safetensors.torch import save_file

        save_file(state, path)
    else:
        torch.save(state, path)
    return path


@pytest.mark.slow
def test_an_aotinductor_package_is_known_by_its_content(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(torch._inductor.aoti_compile_and_package(
            models.program(models.network()), package_path=str(tmp_path / "model.pt2")
        ))  # fmt: skip
    session = load(path, inputs=X)
    assert (Signature(X, Y), "pytorch_aoti") == (session.signature, session.platform)
    agrees(session)
    for wrong in ((TensorSpec("x", "FP32", (-1, 5)),), (TensorSpec("x", "FP64", (-1, 4)),), (*X, *Y[:1])):
        with pytest.raises(LoadFailed, match="made-up input"):
            load(path, inputs=wrong)
    with pytest.raises(BadSetting, match="autocast comes too late"):
        load(path, inputs=X, autocast="bfloat16")
    with pytest.raises(LoadFailed, match="compiled for cpu; `device` asks for cuda"):
        load(path, inputs=X, device="cuda")


# -- signatures ---------------------------------------------------------------------------------------


def test_symbolic_axes_are_variable_wherever_they_are(tmp_path: Path) -> None:
    shapes = {"x": {0: Dim("rows"), 1: Dim("length")}}
    path = exported(tmp_path, Lengths(), torch.zeros(2, 7, 4), shapes=shapes)
    outputs = (("output_0", (-1, 4)), ("output_1", (-1, -1)), ("output_2", ()))
    session = load(path)
    assert session.signature.inputs == (TensorSpec("x", "FP32", (-1, -1, 4)),)
    assert tuple(TensorSpec(name, "FP32", shape) for name, shape in outputs) == session.signature.outputs


class Lengths(nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        return x.mean(1), x.sum(-1), x.sum()


def test_variable_axes_of_outputs_are_found_by_running(tmp_path: Path) -> None:
    inputs = (TensorSpec("x", "FP32", (-1, -1, 4)),)
    session = load(scripted(tmp_path, Lengths()), inputs=inputs)
    assert [each.shape for each in session.signature.outputs] == [(-1, 4), (-1, -1), ()]


def test_sizes_that_are_arithmetic_of_others_are_read(tmp_path: Path) -> None:
    class Twice(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.cat([x, x, x[:1]]).reshape(-1)

    path = exported(tmp_path, Twice(), torch.zeros(6, 4), shapes=({0: Dim("n")},))
    assert [each.shape for each in load(path).signature.outputs] == [(-1,)]


def test_nested_inputs_and_outputs_get_flat_names(tmp_path: Path) -> None:
    class Nested(nn.Module):
        def forward(self, x: Any, pair: Any, *, last: torch.Tensor) -> Any:
            return {"a": [pair["left"] + 1, None], "b": {"c": last, "d": x}}

    one, two, three, four = (torch.full((2,), float(i)) for i in range(4))
    path = exported(tmp_path, Nested(), one, {"left": two, "right": three}, last=four)
    session = load(path)
    assert [each.name for each in session.signature.inputs] == ["x", "pair_left", "pair_right", "last"]
    assert [each.name for each in session.signature.outputs] == ["a_0", "b_c", "b_d"]
    arrays = {each.name: np.full(2, i, np.float32) for i, each in enumerate(session.signature.inputs)}
    got = session.run(arrays)
    assert (got["a_0"].tolist(), got["b_c"].tolist(), got["b_d"].tolist()) == ([2, 2], [3, 3], [0, 0])


def test_results_of_every_form_are_named() -> None:
    class Pair(NamedTuple):
        left: int
        right: Any

    assert named(1) == {"output_0": 1}
    assert named((1, [2, 3])) == {"output_0": 1, "output_1_0": 2, "output_1_1": 3}
    assert named(Pair(1, {"deep": None})) == {"left": 1}


def test_inputs_go_by_argument_names_then_tritons_numbers_then_order(tmp_path: Path) -> None:
    path = scripted(tmp_path, Plain())
    x, scale = np.full((2, 4), 3, np.float32), np.full((2, 1), 2, np.float32)
    for first, second in (("scale", "x"), ("IN__1", "IN__0")):
        inputs = (TensorSpec(first, "FP32", (-1, 1)), TensorSpec(second, "FP32", (-1, 4)))
        assert load(path, inputs=inputs).run({first: scale, second: x})["output_1"].tolist() == [12, 12]
    inputs = (TensorSpec("a", "FP32", (-1, 4)), TensorSpec("b", "FP32", (-1, 1)))
    assert load(path, inputs=inputs).run({"a": x, "b": scale})["output_1"].tolist() == [12, 12]


PLAIN = (TensorSpec("x", "FP32", (-1, 4)), TensorSpec("scale", "FP32", (-1, 1)))


def test_outputs_without_names_take_the_declared_ones(tmp_path: Path) -> None:
    path = scripted(tmp_path, Plain())
    scaled, total = TensorSpec("scaled", "FP32", (-1, 4)), TensorSpec("total", "FP32", (-1,))
    arrays = {"x": np.ones((2, 4), np.float32), "scale": np.ones((2, 1), np.float32)}
    assert load(path, inputs=PLAIN, outputs=(scaled, total)).run(arrays)["total"].tolist() == [4, 4]
    second = TensorSpec("OUT__1", "FP32", (-1,))
    assert {
        name: each.tolist() for name, each in load(path, inputs=PLAIN, outputs=(second,)).run(arrays).items()
    } == {"OUT__1": [4, 4]}


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        (
            (TensorSpec("double", "FP64", (-1, 4)),),
            r"'double' is declared as FP64\[-1, 4\].*has FP32\[-1, 4\]",
        ),
        ((TensorSpec("double", "FP32", (-1, 5)),), r"has FP32\[-1, 4\]"),
        ((TensorSpec("double", "FP32", (4,)),), r"has FP32\[-1, 4\]"),
        ((TensorSpec("nosuch", "FP32", (-1, 4)),), r"'nosuch' are declared; .*gives 'double', 'sum'"),
    ],
)
def test_declared_outputs_must_be_those_that_come(
    outputs: tuple[TensorSpec, ...], message: str, tmp_path: Path
) -> None:
    with pytest.raises(BadSetting, match=message):
        load(scripted(tmp_path, Keyed()), inputs=X, outputs=outputs)


def test_what_a_file_tells_must_agree_with_what_is_declared(tmp_path: Path) -> None:
    path = models.write(tmp_path)
    assert load(path, inputs=X, outputs=Y[:1]).signature == Signature(X, Y[:1])
    with pytest.raises(BadSetting, match=r"'x' is declared as FP16\[-1, 4\]; model.pt2 .*has FP32\[-1, 4\]"):
        load(path, inputs=(TensorSpec("x", "FP16", (-1, 4)),))
    with pytest.raises(BadSetting, match=r"has no 'z'; have 'x'"):
        load(path, inputs=(TensorSpec("z", "FP32", (-1, 4)),))


def test_what_does_not_run_on_made_up_input_is_taken_as_declared(tmp_path: Path) -> None:
    class Picky(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            assert bool((x > 5).all()), "too small"
            return x.add_(1)

    path, y = scripted(tmp_path, Picky()), (TensorSpec("y", "FP32", (-1, 4)),)
    with pytest.raises(LoadFailed, match=r"made-up input: .*too small"):
        load(path, inputs=X)
    x = np.full((1, 4), 6, np.float32)
    assert load(path, inputs=X, outputs=y).run({"x": x})["y"].tolist() == [[7] * 4]
    assert x.tolist() == [[6] * 4]


def test_text_and_complex_numbers_are_refused_at_load(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match="'x' is BYTES; PyTorch has BOOL"):
        load(scripted(tmp_path, Keyed()), inputs=(TensorSpec("x", "BYTES", (-1,)),))
    path = exported(tmp_path, function(lambda x: torch.complex(x, x)), torch.zeros(2))
    with pytest.raises(LoadFailed, match=r"output 'output_0' is torch.complex64; only BOOL"):
        load(path)


# -- datatypes and memory -----------------------------------------------------------------------------


@pytest.mark.parametrize("datatype", DTYPES)
def test_every_datatype_comes_through_unchanged(datatype: str, tmp_path: Path) -> None:
    x = np.array([[0, 1], [1, 0], [1, 1]]).astype(dtype_of(datatype))
    dtype = getattr(torch, DTYPES[datatype])
    path = exported(tmp_path, function(lambda x: x.clone()), torch.zeros(3, 2, dtype=dtype))
    session = load(path)
    assert (TensorSpec(session.signature.inputs[0].name, datatype, (3, 2)),) == session.signature.inputs
    name = session.signature.inputs[0].name
    still = x.copy()
    still.flags.writeable = False
    for form in (x, still, np.asfortranarray(x), np.repeat(x, 2, 1)[:, ::2]):
        y = session.run({name: form})["output_0"]
        assert (x.shape, x.dtype, bytes(to_bytes(x))) == (y.shape, y.dtype, bytes(to_bytes(y)))


def test_foreign_byte_order_and_memory_out_of_step_are_read_as_they_look(tmp_path: Path) -> None:
    session = load(models.write(tmp_path))
    agrees(session, ROWS.astype(">f4"))
    raw = np.zeros(ROWS.nbytes + 1, np.uint8)[1:].view(np.float32).reshape(ROWS.shape)
    raw[:] = ROWS
    agrees(session, raw)
    agrees(session, ROWS[::-1])


def test_no_rows_in_is_no_rows_out(tmp_path: Path) -> None:
    assert load(models.write(tmp_path)).run({"x": np.empty((0, 4), np.float32)})["y"].shape == (0, 3)


def test_inputs_are_read_without_a_copy_and_answers_share_nothing_with_them(tmp_path: Path) -> None:
    session = load(scripted(tmp_path, torch.nn.Identity(), torch.zeros(1, 4)), inputs=X)
    seen: list[int] = []
    run = session._run
    assert run is not None
    session._run = lambda tensors: seen.extend(each.data_ptr() for each in tensors) or run(tensors)
    x = ROWS.copy()
    x.flags.writeable = False
    y = session.run({"x": x})["output_0"]
    assert (seen, False) == ([x.ctypes.data], bool(np.shares_memory(x, y)))
    part = session.run({"x": ROWS.copy()})["output_0"]
    assert ROWS.tolist() == part.tolist()


@pytest.mark.parametrize(
    "write", [scripted, lambda folder, module: exported(folder, module, torch.zeros(5, 4))]
)
def test_a_model_that_writes_to_its_inputs_gets_copies(write: Callable[..., Path], tmp_path: Path) -> None:
    session = load(write(tmp_path, InPlace()), inputs=X if write is scripted else ())
    x = ROWS.copy()
    x.flags.writeable = False
    assert ((ROWS + 1).tolist(), ROWS.tolist()) == (session.run({"x": x})["output_0"].tolist(), x.tolist())


def test_wrong_inputs_are_refused_by_name_before_pytorch_sees_them(tmp_path: Path) -> None:
    session = load(models.write(tmp_path))
    for wrong, message in (
        ({"x": ROWS.astype("f8")}, "'x' is FP64; it must be FP32"),
        ({"x": ROWS[:, :3]}, r"'x' has shape \[5, 3\]; it must be \[-1, 4\]"),
        ({"z": ROWS}, "'x' is missing"),
    ):
        with pytest.raises(InvalidRequest, match=message):
            session.run(wrong)
    with pytest.raises(InvalidRequest, match="no output 'z'; have 'y', 'top'"):
        session.run({"x": ROWS}, ("z",))
    session.close()
    with pytest.raises(RuntimeError, match="closed"):
        session.run({"x": ROWS})


def test_several_threads_may_run_at_once(tmp_path: Path) -> None:
    session = load(models.write(tmp_path))
    batches = [
        np.random.default_rng(i).standard_normal((1 + i % 5, 4)).astype(np.float32) for i in range(100)
    ]
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda x: session.run({"x": x})["y"].tolist(), batches))
    assert [session.run({"x": x})["y"].tolist() for x in batches] == got


# -- files that would run code ------------------------------------------------------------------------


class Attack:
    """Unpickled, it makes a file that must not be there."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.mark}",)


def rewritten(path: Path, change: Callable[[str, bytes], bytes]) -> Path:
    with zipfile.ZipFile(path) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, raw in records.items():
            archive.writestr(name, change(name, raw))
    return path


def saved(value: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def test_the_attack_works_where_pickles_are_trusted(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Attack(tmp_path / "mark")))
    assert (tmp_path / "mark").exists()


@pytest.mark.parametrize("form", ["plain", "zip", "old", "beside weights"])
def test_a_pickle_in_place_of_weights_is_not_run(form: str, tmp_path: Path) -> None:
    mark, path = tmp_path / "mark", tmp_path / "model.pt"
    sys.modules[MODULE] = models
    if form == "plain":
        path.write_bytes(pickle.dumps(Attack(mark)))
    else:
        value = Attack(mark) if form == "zip" else {**models.network().state_dict(), "z": Attack(mark)}
        torch.save(value, path, _use_new_zipfile_serialization=form != "old")
    with pytest.raises(LoadFailed, match=r"model.pt is no pickle of plain tensors.*save module.state_dict"):
        load(path, inputs=X, module=f"{MODULE}:network")
    assert not mark.exists()


@pytest.mark.parametrize("record", ["data.pkl", "constants.pkl"])
def test_torchscripts_own_unpickler_runs_no_python(record: str, tmp_path: Path) -> None:
    """What ``torch.jit.load`` reads knows TorchScript's classes, not Python's."""
    mark = tmp_path / "mark"
    attack = pickle.dumps(Attack(mark), protocol=2)
    path = rewritten(
        scripted(tmp_path, Keyed()), lambda name, raw: attack if name.endswith(f"/{record}") else raw
    )
    with pytest.raises(LoadFailed, match=r"PyTorch refuses model.pt, a TorchScript archive: ."):
        load(path, inputs=X)
    assert not mark.exists()


def _samples(mark: Path) -> Callable[[str, bytes], bytes]:
    attack = saved(((Attack(mark),), {}))
    return lambda name, raw: attack if "/sample_inputs/" in name else raw


def _payload(mark: Path) -> Callable[[str, bytes], bytes]:
    attack = saved(Attack(mark))

    def change(name: str, raw: bytes) -> bytes:
        if name.endswith("_weights_config.json"):
            return raw.replace(b'"use_pickle": false', b'"use_pickle": true')
        return attack if name.endswith("/weight_0") else raw

    return change


def _model(edit: Callable[[Any], None]) -> Callable[[str, bytes], bytes]:
    def change(name: str, raw: bytes) -> bytes:
        if "/models/" not in name:
            return raw
        model = json.loads(raw)
        edit(model)
        return json.dumps(model).encode()

    return change


def _size(mark: Path) -> Callable[[str, bytes], bytes]:
    def edit(model: Any) -> None:
        sizes = model["graph_module"]["graph"]["tensor_values"]["x"]["sizes"]
        sizes[0]["as_expr"]["expr_str"] = f"__import__('os').system('touch {mark}')"

    return _model(edit)


def _argument(mark: Path) -> Callable[[str, bytes], bytes]:
    def edit(model: Any) -> None:
        call = model["graph_module"]["module_call_graph"][0]["signature"]
        call["forward_arg_names"] = [f"x=__import__('os').system('touch {mark}')"]

    return _model(edit)


def _operator(mark: Path) -> Callable[[str, bytes], bytes]:
    def edit(model: Any) -> None:
        node = model["graph_module"]["graph"]["nodes"][0]
        node["target"] = "torch.os.system"
        node["inputs"] = [{"name": "", "arg": {"as_string": f"touch {mark}"}, "kind": 1}]

    return _model(edit)


def _guards(mark: Path) -> Callable[[str, bytes], bytes]:
    return _model(lambda model: model["guards_code"].append(f"__import__('os').system('touch {mark}') == 0"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_samples, r"sample inputs that are no pickle of plain tensors .*system"),
        (_payload, "as a pickled object; only plain tensors are read"),
        (_size, "__import__.* for 'expr_str', which is no name or size"),
        (_argument, "x=__import__.* for 'forward_arg_names'"),
        (_operator, "function system>' is not an allowed operator"),
    ],
)
def test_an_exported_program_that_would_run_code_is_refused(
    change: Callable[[Path], Callable[[str, bytes], bytes]], message: str, tmp_path: Path
) -> None:
    path = rewritten(models.write(tmp_path), change(tmp_path / "mark"))
    with pytest.raises(LoadFailed, match=message):
        load(path)
    assert not (tmp_path / "mark").exists()


def test_guards_of_an_exported_program_are_not_run(tmp_path: Path) -> None:
    agrees(load(rewritten(models.write(tmp_path), _guards(tmp_path / "mark"))))
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("keep", [0.0, 0.001, 0.1, 0.5, 0.99])
def test_truncated_files_are_refused_in_one_line_without_paths(keep: float, tmp_path: Path) -> None:
    sys.modules[MODULE] = models
    for name, path in (("model.pt2", models.write(tmp_path)), ("model.pt", scripted(tmp_path, Keyed()))):
        cut = tmp_path / "cut" / name
        cut.parent.mkdir(exist_ok=True)
        cut.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])
        with pytest.raises(LoadFailed, match=rf"{name} is n|{name}, .*: .") as caught:
            load(cut, inputs=X, module=f"{MODULE}:network")
        assert ("\n" in str(caught.value), str(tmp_path) in str(caught.value)) == (False, False)


@pytest.mark.parametrize("name", ["model.pt", "model.pt2", "model.safetensors"])
@pytest.mark.parametrize("junk", [b"not a model", b"\0" * 4096, b"<html></html>"])
def test_files_of_something_else_are_refused(name: str, junk: bytes, tmp_path: Path) -> None:
    sys.modules[MODULE] = models
    (tmp_path / name).write_bytes(junk)
    with pytest.raises(LoadFailed, match=name):
        load(tmp_path, inputs=X, module=f"{MODULE}:network")


def test_refusals_write_nothing_to_stderr(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = models.write(tmp_path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(LoadFailed):
        load(path, inputs=X)
    with pytest.raises(LoadFailed):
        load(rewritten(models.write(tmp_path / "b"), _samples(tmp_path / "mark")))
    assert tuple(capfd.readouterr()) == ("", "")


# -- settings -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({}, BadSetting, "holds weights alone; .*module = 'package.module:callable'"),
        ({"module": "json"}, BadSetting, "torch.module is 'json'; .*'package.module:callable'"),
        ({"module": "nosuch:thing"}, BadSetting, "'nosuch:thing' cannot be imported"),
        ({"module": "builtins:dict"}, BadSetting, "made dict; it must make an nn.Module"),
        ({"module": f"{MODULE}:network", "arguments": {"hiden": 1}}, LoadFailed, "TypeError.*hiden"),
        ({"module": f"{MODULE}:network", "arguments": {"hidden": 9}}, LoadFailed, "size mismatch for first"),
    ],
)
def test_weights_that_do_not_meet_their_module_are_refused(
    settings: dict[str, Any], error: type[Exception], message: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        load(weights(tmp_path, "pt"), inputs=X, **settings)


def test_a_checkpoint_of_more_than_weights_is_refused(tmp_path: Path) -> None:
    torch.save({"epoch": 3, "model": models.network().state_dict()}, tmp_path / "model.pt")
    sys.modules[MODULE] = models
    with pytest.raises(LoadFailed, match=r"has a dict of epoch, model; save module.state_dict\(\) alone"):
        load(tmp_path, inputs=X, module=f"{MODULE}:network")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"module": "a:b"}, "torch.module is for files of weights alone; model.pt is a TorchScript archive"),
        ({"compile": True}, "torch.compile does not take it: model.pt is a TorchScript archive"),
        ({"cuda_graphs": "on"}, "cuda_graphs is 'on', but the model runs on cpu; use 'auto' or 'off'"),
        ({"device": "tpu"}, "no device 'tpu'; use 'auto', .*'cuda'"),
    ],
)
def test_settings_that_do_not_fit_the_file_are_refused(
    settings: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(BadSetting, match=message):
        load(scripted(tmp_path, Keyed()), inputs=X, **settings)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there_is_refused_unless_another_is_named(tmp_path: Path) -> None:
    path = models.write(tmp_path)
    with pytest.raises(LoadFailed, match="PyTorch sees no cuda here; have cpu"):
        load(path, device="cuda")
    assert load(path, device=("cuda:3", "cpu")).device == "cpu"


def test_autocast_changes_the_arithmetic_and_not_the_signature(tmp_path: Path) -> None:
    path = weights(tmp_path, "pt")
    session = load(path, inputs=X, module=f"{MODULE}:network", autocast="bfloat16")
    y = session.run({"x": ROWS})["y"]
    assert (Signature(X, Y), np.dtype("f4")) == (session.signature, y.dtype)
    assert 1e-6 < np.abs(y - expected()["y"]).max() < 1e-2


def test_threads_are_as_told_and_idle_ones_sleep(tmp_path: Path) -> None:
    session = load(models.write(tmp_path), threads=2)
    assert (session.threads, torch.get_num_threads()) == (2, 2)
    assert (os.environ["OMP_WAIT_POLICY"], os.environ["KMP_BLOCKTIME"]) == ("PASSIVE", "0")


@pytest.mark.slow
def test_compiled_models_run_every_batch_size_without_another_compilation(tmp_path: Path) -> None:
    from torch._dynamo.utils import counters

    if _no_compiler():
        pytest.skip("torch.compile needs a C++ compiler")
    sys.modules[MODULE] = models
    for folder, path in (("a", models.write(tmp_path)), ("b", weights(tmp_path, "pt"))):
        settings = {"inputs": X, "module": f"{MODULE}:network"} if path.suffix == ".pt" else {}
        session = load(path, compile=True, cache=str(tmp_path / folder), **settings)
        made = counters["stats"]["unique_graphs"]
        torch.compiler.set_stance("fail_on_recompile")
        try:
            with ThreadPoolExecutor(2) as pool:
                batches = [np.resize(ROWS, (rows, 4)) for rows in (1, 2, 3, 8, 64, 100)]
                list(pool.map(lambda x, s=session: agrees(s, x), batches))
        finally:
            torch.compiler.set_stance("eager_on_recompile")
        assert (Signature(X, Y), made) == (session.signature, counters["stats"]["unique_graphs"])
    assert list((tmp_path / "a" / "torch").rglob("*.so"))


def _no_compiler() -> bool:
    from shutil import which

    return not any(map(which, ("g++", "clang++", "c++")))


def test_a_new_shape_of_a_compiled_model_runs_as_it_is(tmp_path: Path) -> None:
    """Instead of waiting for a compilation."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run = torch.compile(models.network())
    torch.compiler.set_stance("eager_on_recompile")
    with torch.inference_mode():
        assert run(torch.from_numpy(ROWS))["y"].tolist() == expected()["y"].tolist()


def test_neuron_models_load_where_its_package_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With an operator of that name in place of the accelerator's."""
    (tmp_path / "torch_neuronx.py").write_text(
        "import torch\n"
        "library = torch.library.Library('neuron', 'DEF')\n"
        "library.define('forward_v2(Tensor x) -> Tensor')\n"
        "library.impl('forward_v2', lambda x: x * 2, 'CompositeExplicitAutograd')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    import torch_neuronx  # type: ignore[import-not-found]

    assert torch_neuronx.library
    path = scripted(tmp_path, function(lambda x: torch.ops.neuron.forward_v2(x)), torch.zeros(1, 4))
    for device in ("neuron", "auto"):
        session = load(path, inputs=(TensorSpec("IN__0", "FP32", (-1, 4)),), device=device)
        assert (session.device, session.run({"IN__0": ROWS})["output_0"].tolist()) == (
            "neuron",
            (ROWS * 2).tolist(),
        )
    with pytest.raises(LoadFailed, match="sees no neuron"):
        load(scripted(tmp_path, Keyed()), inputs=X, device="neuron")
    assert load(scripted(tmp_path, Keyed()), inputs=X).device != "neuron"


# -- CUDA graphs --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rows", "size"), [(0, 0), (1, 1), (2, 2), (3, 4), (4, 4), (5, 6), (6, 6), (7, 0)])
def test_batches_are_padded_to_the_smallest_graph_that_holds_them(rows: int, size: int) -> None:
    assert powers(6) == [1, 2, 4, 6]
    assert bucket(rows, [1, 2, 4, 6]) == size
    assert bucket(rows, []) == 0


def test_batches_whose_graph_is_not_worth_it_run_without_one() -> None:
    """Not through a larger graph, which nobody has measured for them."""

    class Recorded:
        def replay(self) -> None:
            result.copy_(into * 2)

    into, result = torch.zeros(4, 1), torch.zeros(4, 1)
    four = Captured(Recorded(), [into], {"y": result})
    graphs = Graphs(lambda tensors: {"y": tensors[0] * 3}, {1: four, 2: four, 4: four}, [4])
    factors = {1: 3, 2: 3, 3: 2, 4: 2, 5: 3}
    for rows, factor in factors.items():
        assert graphs([torch.ones(rows, 1)])["y"].tolist() == [[factor]] * rows


def test_graphs_need_a_variable_axis_0_and_no_other() -> None:
    assert unfit(Signature(X, Y)) == ""
    assert unfit(Signature((TensorSpec("x", "FP32", (2, 4)),), Y)) == "axis 0 of 'x' is not variable"
    assert (
        unfit(Signature((TensorSpec("x", "FP32", (-1, -1)),), Y)) == "'x' has a variable axis after the first"
    )


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("graphs", ["on", "auto", "off"])
def test_cuda_answers_as_the_cpu_does(graphs: str, tmp_path: Path) -> None:
    session = load(models.write(tmp_path), device="cuda", cuda_graphs=graphs)
    assert session.device.startswith("cuda:0 (")
    assert graphs != "on" or "CUDA graphs" in session.device
    for rows in (1, 2, 3, 5, 64, 65):
        agrees(session, np.resize(ROWS, (rows, 4)))
    before = torch.cuda.memory_allocated()
    session.close()
    assert torch.cuda.memory_allocated() < before


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_graphs_are_refused_where_rows_of_padding_would_show(tmp_path: Path) -> None:
    path = scripted(tmp_path, function(lambda x: x - x.mean(0)), torch.zeros(3, 4))
    inputs = (TensorSpec("IN__0", "FP32", (-1, 4)),)
    with pytest.raises(LoadFailed, match="rows of padding change"):
        load(path, inputs=inputs, device="cuda", cuda_graphs="on")


# -- memory -------------------------------------------------------------------------------------------

RSS = """
import sys
from pathlib import Path
import numpy as np
from penstock.core.spec import Instances, ModelSpec
from penstock.engines.torch import TorchEngine

def rss():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6

def once():
    session = TorchEngine().open(ModelSpec(instances=Instances(threads=1)), Path(sys.argv[1]))
    for rows in (1, 7):
        session.run({"x": np.zeros((rows, 4), np.float32)})
    loaded = rss()
    session.close()
    return loaded

for _ in range(10):
    loaded = once()
before = rss()
for _ in range(20):
    once()
print(loaded, before, rss())
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads Linux's /proc")
def test_closing_gives_the_memory_back(tmp_path: Path) -> None:
    """Eight MB of weights: one session kept would show."""
    path = tmp_path / "model.pt2"
    torch.export.save(models.program(models.network(hidden=250_000)), path)
    done = subprocess.run([sys.executable, "-W", "error", "-c", RSS, path], capture_output=True, text=True)
    assert done.stderr == ""
    loaded, before, after = map(float, done.stdout.split())
    assert (loaded - before > 6, after - before < 6) == (True, True), (loaded, before, after)
