"""Models in Python: their code, signatures, inputs, outputs, errors and what keeps versions apart."""

import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy as np
import pytest

from penstock.core.errors import BadSetting, EngineFailed, InvalidRequest, LoadFailed
from penstock.core.spec import Instances, ModelSpec, Signature, TensorSpec
from penstock.engines.python import PythonEngine, PythonSession

HEAD = """\
from typing import Annotated, Any, NamedTuple, TypedDict
import numpy as np
from numpy.typing import NDArray
from penstock import BF16, BOOL, BYTES, FP32, FP64, INT64, Context
"""
LINES = len(HEAD.splitlines())
X = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)


def load(folder: Path, code: str, **spec: Any) -> PythonSession:
    folder.mkdir(exist_ok=True, parents=True)
    (folder / "model.py").write_text(HEAD + dedent(code))
    return PythonEngine().open(ModelSpec(name="m", instances=Instances(threads=1), **spec), folder)


def modules() -> set[str]:
    return {name for name in sys.modules if name.startswith("_penstock_model_")}


def shapes(signature: Signature) -> tuple[dict[str, Any], dict[str, Any]]:
    def each(specs: Any) -> dict[str, Any]:
        return {spec.name: (spec.datatype, *spec.shape) for spec in specs}

    return each(signature.inputs), each(signature.outputs)


DOUBLE = """
class Double:
    def predict(self, x: Annotated[FP32, -1, 2]) -> Annotated[FP32, -1, 2]:
        return x * np.float32(2)
"""


def test_predict_sees_the_whole_batch(tmp_path: Path) -> None:
    session = load(tmp_path, DOUBLE)
    assert shapes(session.signature) == ({"x": ("FP32", -1, 2)}, {"y": ("FP32", -1, 2)})
    assert (X * 2).tolist() == session.run({"x": X})["y"].tolist()


@pytest.mark.parametrize("where", ["import", "setup", "predict"])
def test_a_model_that_calls_exit_has_failed(tmp_path: Path, where: str) -> None:
    code = f"""
    import sys
    if {where == "import"}:
        sys.exit(3)
    class Exiting:
        def setup(self):
            if {where == "setup"}:
                sys.exit(3)
        def predict(self, x: Annotated[FP32, -1, 2]) -> Annotated[FP32, -1, 2]:
            sys.exit(3)
    """
    failed = EngineFailed if where == "predict" else LoadFailed
    with pytest.raises(failed, match=r"model\.py:\d+: SystemExit: 3"):
        load(tmp_path, code).run({"x": X})


def test_setup_is_told_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "word.txt").write_text("beside")
    session = load(
        tmp_path,
        """
        class Told:
            def setup(self, context: Context) -> None:
                self.words = [context.model, context.device, str(context.threads), context.parameters["k"]]
                self.words.append((context.folder / "word.txt").read_text())
            def predict(self, x: Annotated[FP32, -1]) -> Annotated[BYTES, -1, 5]:
                return [self.words] * len(x)
        """,
        parameters={"k": "v"},
        device=("cuda:1", "cpu"),
    )
    assert session.run({"x": np.zeros(1, "f4")})["y"].tolist() == [[b"m", b"cuda:1", b"1", b"v", b"beside"]]


def test_the_device_is_what_the_model_says_it_took(tmp_path: Path) -> None:
    said = """
    class Model:
        device = "mps"
        def predict(self, x: Annotated[FP32, -1]) -> Annotated[FP32, -1]:
            return x
    """
    assert (load(tmp_path / "a", said).device, load(tmp_path / "b", DOUBLE).device) == ("mps", "cpu")


# -- signatures --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("returns", "outputs"),
    [
        ("Annotated[FP64, -1]", {"y": ("FP64", -1)}),
        ("Annotated[FP64, 'score', -1, 3]", {"score": ("FP64", -1, 3)}),
        ("Annotated[NDArray[np.uint8], -1]", {"y": ("UINT8", -1)}),
        ("Annotated[BF16, -1, 2]", {"y": ("BF16", -1, 2)}),
        (
            "tuple[Annotated[BYTES, 'a', -1], Annotated[BOOL, 'b', -1]]",
            {"a": ("BYTES", -1), "b": ("BOOL", -1)},
        ),
        ("Answer", {"a": ("FP32", -1), "b": ("INT64", -1, 2)}),
        ("Pair", {"a": ("FP32", -1), "b": ("INT64", -1, 2)}),
    ],
)
def test_annotations_are_the_signature(returns: str, outputs: Any, tmp_path: Path) -> None:
    session = load(
        tmp_path,
        f"""
        class Answer(TypedDict):
            a: Annotated[FP32, -1]
            b: Annotated[INT64, -1, 2]
        class Pair(NamedTuple):
            a: Annotated[FP32, -1]
            b: Annotated[INT64, -1, 2]
        class Model:
            def predict(self, x: Annotated[FP32, -1, 2], t: Annotated[BYTES, -1]) -> {returns}: ...
        """,
    )
    assert ({"x": ("FP32", -1, 2), "t": ("BYTES", -1)}, outputs) == shapes(session.signature)


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("def predict(self, x): ...", "input 'x' of Model.predict has no type; write it as Annotated"),
        ("def predict(self, x: FP32): ...", "which has no shape; write it as Annotated[FP32, -1, 4]"),
        ("def predict(self, x: Annotated[str, -1]): ...", "which is no tensor; write it as"),
        ("def predict(self, x: Annotated[NDArray[np.complex64], -1]): ...", "no V2 datatype"),
        ("def predict(self, x: 'Nosuch'): ...", "the annotations of Model.predict cannot be read: name 'Nos"),
        ("def predict(self, *x: FP32): ...", "inputs are given by name; 'x' cannot be"),
        ("def predict(self, x: Annotated[FP32, -1]): ...", "Model.predict does not tell its outputs"),
        ("def predict(self, x: Annotated[FP32, -1]) -> dict[str, FP32]: ...", "does not tell its outputs"),
        (
            "def predict(self, x: Annotated[FP32, -1]) -> tuple[Annotated[FP32, -1], FP32]: ...",
            "returns several outputs of which one has no name; write Annotated[FP32, 'name', -1]",
        ),
        (
            "async def predict(self, x: Annotated[FP32, -1]): ...",
            "Model.predict is async; write it as a plain",
        ),
        ("def predict(self, x: Annotated[FP32, -1]): yield x", "Model.predict yields; it must return all"),
    ],
)
def test_a_signature_that_cannot_be_told_says_why(code: str, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(LoadFailed) as caught:
        load(tmp_path, f"class Model:\n    {code}\n")
    assert sentence in str(caught.value)


def test_a_signature_may_be_declared_beside_the_code(tmp_path: Path) -> None:
    told = {
        "inputs": (TensorSpec("x", "FP32", (-1, 2)),),
        "outputs": (TensorSpec("sum", "FP32", (-1,)),),
    }
    for given in ("x", "**inputs"):
        total = "x" if given == "x" else "inputs['x']"
        code = f"class Model:\n    def predict(self, {given}) -> dict[str, Any]:\n"
        session = load(tmp_path, code + f"        return {{'sum': {total}.sum(1)}}\n", **told)
        assert session.run({"x": X})["sum"].tolist() == [3.0, 7.0]


@pytest.mark.parametrize(
    ("declared", "sentence"),
    [
        ({"inputs": (TensorSpec("x", "FP64", (-1, 2)),)}, "declared FP64 [-1, 2]; Double.predict says FP32"),
        ({"inputs": (TensorSpec("z", "FP32", (-1, 2)),)}, "input 'z' is declared; Double.predict has x"),
        ({"outputs": (TensorSpec("z", "FP32", (-1, 2)),)}, "output 'z' is declared; Double.predict has y"),
    ],
)
def test_a_declared_signature_must_agree(declared: Any, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(BadSetting) as caught:
        load(tmp_path, DOUBLE, **declared)
    assert sentence in str(caught.value)


# -- decode and encode -------------------------------------------------------------------------------


def test_decode_and_encode_see_one_row_each(tmp_path: Path) -> None:
    session = load(
        tmp_path,
        """
        class Answer(TypedDict):
            word: str
            length: int
            point: Annotated[FP32, 2]
        class Model:
            def decode(self, text: str, scale: float, x: Annotated[FP32, 2]) -> Any:
                assert (type(text), type(scale), x.shape) == (str, float, (2,))
                return text.upper(), x * np.float32(scale)
            def predict(self, batch: list[Any]) -> list[Any]:
                assert type(batch) is list
                return batch[::-1][::-1]
            def encode(self, one: Any) -> Answer:
                return {"word": one[0], "length": len(one[0]), "point": one[1]}
        """,
    )
    inputs, outputs = shapes(session.signature)
    assert inputs == {"text": ("BYTES", -1), "scale": ("FP64", -1), "x": ("FP32", -1, 2)}
    assert outputs == {"word": ("BYTES", -1), "length": ("INT64", -1), "point": ("FP32", -1, 2)}
    got = session.run(
        {"text": np.array(["é".encode(), b"ab"], object), "scale": np.array([2.0, 3.0]), "x": X}
    )
    assert ["É".encode(), b"AB"] == got["word"].tolist()
    assert (got["length"].tolist(), got["point"].tolist()) == ([1, 2], [[2.0, 4.0], [9.0, 12.0]])
    with pytest.raises(InvalidRequest, match="'text' has bytes that are not UTF-8"):
        session.run({"text": np.array([b"\xff", b""], object), "scale": np.zeros(2), "x": X})


def test_decoded_arrays_of_one_shape_reach_predict_as_one(tmp_path: Path) -> None:
    session = load(
        tmp_path,
        """
        class Model:
            def decode(self, image: bytes) -> FP32:
                return np.frombuffer(image, np.uint8).astype(np.float32)
            def predict(self, pixels: FP32) -> Annotated[FP32, -1]:
                return pixels.mean(axis=1)
        """,
    )
    given = np.array([bytes([0, 2]), bytes([4, 6])], object)
    assert session.run({"image": given})["y"].tolist() == [1.0, 5.0]


def test_predict_must_give_one_result_a_row_to_encode(tmp_path: Path) -> None:
    code = """
    class Model:
        def predict(self, x: Annotated[FP32, -1, 2]) -> Any:
            return {}
        def encode(self, one: Any) -> float:
            return {}
    """
    for result, encoded, sentence in (
        ("x[:1]", "1.0", "predict gave 1 results for a batch of 2"),
        ("{}", "1.0", "predict gave a dict; before encode it must give a list or an array"),
        ("x", "'a'", "output 'y' does not make FP64"),
        ("x", "np.zeros(int(one[0]))", "output 'y' has rows of shapes [1] and [3]"),
    ):
        with pytest.raises(EngineFailed) as caught:
            load(tmp_path, code.format(result, encoded)).run({"x": X})
        assert sentence in str(caught.value)


# -- inputs ------------------------------------------------------------------------------------------


def test_inputs_cannot_be_changed_and_come_in_native_order(tmp_path: Path) -> None:
    session = load(
        tmp_path,
        """
        class Model:
            def predict(self, x: Annotated[FP32, -1, 2]) -> Annotated[FP32, -1, 2]:
                assert x.dtype.isnative
                x += 1
                return x
        """,
    )
    with pytest.raises(EngineFailed, match=r"^predict failed: model.py:\d+: ValueError: .*read-only"):
        session.run({"x": X.astype(">f4")})


def test_text_comes_as_bytes_whatever_it_was(tmp_path: Path) -> None:
    session = load(
        tmp_path,
        """
        class Model:
            def predict(self, t: Annotated[BYTES, -1]) -> Annotated[BYTES, -1]:
                assert t.dtype == object and {type(one) for one in t} == {bytes}
                return t
        """,
    )
    for given in (np.array([b"\xff", b"b"], object), np.array(["a", "b"]), np.array(["a", "b"], object)):
        assert session.run({"t": given})["y"][1] == b"b"


def test_wrong_inputs_do_not_reach_the_model(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"input 'x' has shape \[2, 1\]; it must be \[-1, 2\]"):
        load(tmp_path, DOUBLE).run({"x": X[:, :1]})


def test_no_rows_are_answered_without_the_model(tmp_path: Path) -> None:
    assert load(tmp_path, DOUBLE).run({"x": X[:0]})["y"].shape == (0, 2)


# -- outputs -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("result", "sentence"),
    [
        ("{'a': x}", "predict gave no output 'b'; it gave 'a'"),
        ("{'a': x, 'b': ['', ''], 'c': x}", "predict gave 'c'; it declares 'a', 'b'"),
        ("x", "predict gave a ndarray; it declares 'a', 'b'"),
        ("None", "predict gave None; it declares 'a', 'b'"),
        ("(x, x, x)", "predict gave 3 outputs; it declares 'a', 'b'"),
        ("x.astype('f8'), ['', '']", "output 'a' is FP64; it is declared FP32"),
        ("x.astype('c8'), ['', '']", "output 'a' is complex64; it is declared FP32"),
        ("[['p', 'q'], [1, 2]], ['', '']", "output 'a' does not make FP32: could not convert string"),
        ("x[:, 0], ['', '']", "output 'a' has shape [2]; it is declared [-1, 2]"),
        ("x[:1], ['', '']", "output 'a' has 1 rows for a batch of 2"),
        ("x, ['']", "output 'b' has 1 rows for a batch of 2"),
        ("x, ['', 1]", "output 'b' holds a int; BYTES hold bytes or str"),
        ("x, x", "output 'b' is FP32; it is declared BYTES"),
    ],
)
def test_a_wrong_output_is_named(result: str, sentence: str, tmp_path: Path) -> None:
    code = f"""
    class Model:
        def predict(
            self, x: Annotated[FP32, -1, 2]
        ) -> tuple[Annotated[FP32, 'a', -1, 2], Annotated[BYTES, 'b', -1]]:
            return {result}
    """
    with pytest.raises(EngineFailed) as caught:
        load(tmp_path, code).run({"x": X})
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    "result",
    [
        "(x, ['é', b'b'])",
        "{'b': np.array(['é', 'b']), 'a': [[1, 2], [3, 4.0]]}",
        "Pair(x.astype('>f4'), ('é', 'b'))",
    ],
)
def test_outputs_come_in_every_reasonable_form(result: str, tmp_path: Path) -> None:
    code = f"""
    class Pair(NamedTuple):
        a: Annotated[FP32, -1, 2]
        b: Annotated[BYTES, -1]
    class Model:
        def predict(self, x: Annotated[FP32, -1, 2]) -> Pair:
            return {result}
    """
    session = load(tmp_path, code)
    got = session.run({"x": X})
    assert (["a", "b"], X.tolist(), ["é".encode(), b"b"]) == (list(got), got["a"].tolist(), got["b"].tolist())
    assert (np.dtype(np.float32), False) == (got["a"].dtype, np.shares_memory(got["a"], X))
    assert list(session.run({"x": X}, ("b",))) == ["b"]


# -- errors ------------------------------------------------------------------------------------------


def test_an_exception_names_the_models_own_line_and_no_path(tmp_path: Path) -> None:
    session = load(
        tmp_path,
        """
        class Model:
            def predict(self, x: Annotated[FP32, -1, 2]) -> Annotated[FP32, -1, 2]:
                open(f"{__file__}.gone")
                return np.linalg.inv(x[:, :1])
        """,
    )
    with pytest.raises(EngineFailed) as caught:
        session.run({"x": X})
    said = str(caught.value)
    assert said.startswith(f"predict failed: model.py:{LINES + 4}: FileNotFoundError: ")
    assert ("'model.py.gone'" in said, str(tmp_path) in said) == (True, False)


def test_a_traceback_is_logged_once_for_each_place(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    code = """
        class Model:
            def predict(self, x: Annotated[FP32, -1, 2]) -> Annotated[FP32, -1, 2]:
                if x[0, 0] == 1:
                    raise ValueError("one")
                return np.linalg.inv(x[:, :1])
        """
    session = load(tmp_path, code)
    for x in (X, X, X[1:], X):
        with pytest.raises(EngineFailed):
            session.run({"x": np.concatenate([x, x])})
    assert [record.name for record in caplog.records] == ["penstock.model"] * 2
    assert caplog.text.count("Traceback") == 2
    assert 'raise ValueError("one")' in caplog.text
    assert "LinAlgError" in caplog.text


def test_a_neighbours_line_is_named_too(tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text("def fail():\n    raise ValueError('oh')\n")
    session = load(tmp_path, "from .helper import fail\n" + DOUBLE.replace("return", "fail(); return"))
    with pytest.raises(EngineFailed, match=r"^predict failed: helper.py:2: ValueError: oh$"):
        session.run({"x": X})


def test_what_a_model_refuses_is_the_callers_fault(tmp_path: Path) -> None:
    code = "from penstock.core.errors import InvalidRequest\n" + DOUBLE.replace(
        "return", "raise InvalidRequest('not these'); return"
    )
    with pytest.raises(InvalidRequest, match=r"^not these$"):
        load(tmp_path, code).run({"x": X})


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("x = = 1", f"model.py cannot be loaded: model.py:{LINES + 1}: SyntaxError: invalid syntax"),
        (
            "import nosuch_module",
            f"model.py:{LINES + 1}: ModuleNotFoundError: No module named 'nosuch_module'",
        ),
        ("import helper", "No module named 'helper'; a file beside it is imported by `from . import helper`"),
        ("pass", "model.py defines no class with predict"),
        (
            DOUBLE + DOUBLE.replace("Double", "Other"),
            "Double, Other, all with predict; say which with `class`",
        ),
        (
            DOUBLE + "    def __init__(self, size): ...\n",
            "Double: its constructor, which is called without arguments, failed: TypeError",
        ),
        (
            DOUBLE + "    def setup(self, context):\n        raise OSError('no weights')\n",
            f"Double: setup failed: model.py:{LINES + 6}: OSError: no weights",
        ),
        (DOUBLE + "    async def setup(self): ...\n", "Double.setup is async"),
    ],
)
def test_code_that_does_not_come_up_says_where(code: str, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "helper.py").touch()
    before = modules()
    with pytest.raises(LoadFailed) as caught:
        load(tmp_path, code)
    assert (sentence in str(caught.value), str(tmp_path) in str(caught.value)) == (True, False)
    assert before == modules()


# -- classes, modules, versions ----------------------------------------------------------------------


def test_a_class_may_be_named_and_a_base_is_no_model(tmp_path: Path) -> None:
    two = DOUBLE + DOUBLE.replace("Double", "Triple").replace("(2)", "(3)")
    assert load(tmp_path, two, parameters={"class": "Triple"}).run({"x": X})["y"][0, 0] == 3.0
    below = DOUBLE + "class Mine(Double):\n    pass\n"
    assert load(tmp_path, below).run({"x": X})["y"][0, 0] == 2.0
    with pytest.raises(BadSetting, match=r"parameters.class is 'Nosuch'; model.py has no class of that name"):
        load(tmp_path, two, parameters={"class": "Nosuch"})


def test_versions_do_not_see_each_others_modules(tmp_path: Path) -> None:
    code = DOUBLE.replace("return x * np.float32(2)", "from .late import add; return x * FACTOR + add()")
    sessions = []
    for version in (1, 2):
        folder = tmp_path / str(version)
        (folder / "helper").mkdir(parents=True)
        (folder / "helper" / "__init__.py").write_text("from ..factor import FACTOR\n")
        (folder / "factor.py").write_text(f"import numpy as np\nFACTOR = np.float32({version})\n")
        (folder / "late.py").write_text(f"import numpy as np\ndef add(): return np.float32({version}00)\n")
        sessions.append(load(folder, "from .helper import FACTOR\n" + code))
    assert [float(session.run({"x": X})["y"][0, 0]) for session in sessions] == [101.0, 202.0]


def test_code_that_is_loaded_again_is_read_again(tmp_path: Path) -> None:
    for factor in (3, 5):
        (tmp_path / "helper.py").write_text(f"FACTOR = {factor}\n")
        session = load(tmp_path, "from .helper import FACTOR\n" + DOUBLE.replace("(2)", "(FACTOR)"))
        assert float(factor) == session.run({"x": X})["y"][0, 0]
        session.close()


def test_nothing_is_written_into_the_versions_folder(tmp_path: Path) -> None:
    (tmp_path / "helper.py").touch()
    load(tmp_path, "from . import helper\n" + DOUBLE).run({"x": X})
    assert sorted(file.name for file in tmp_path.iterdir()) == ["helper.py", "model.py"]


def test_closing_calls_the_models_own_close_and_forgets_its_modules(tmp_path: Path) -> None:
    code = DOUBLE + "    def close(self):\n        open(__file__ + '.closed', 'w').close()\n"
    before = modules()
    session = load(tmp_path, code)
    assert len(before) + 2 == len(modules())
    session.close()
    assert ((tmp_path / "model.py.closed").exists(), before) == (True, modules())
    with pytest.raises(RuntimeError, match="closed"):
        session.run({"x": X})


def test_the_file_may_have_another_name(tmp_path: Path) -> None:
    (tmp_path / "net-v2.py").write_text(HEAD + DOUBLE)
    session = PythonEngine().open(ModelSpec(file="net-v2.py"), tmp_path)
    assert session.run({"x": X})["y"][0, 0] == 2.0


def test_type_checkers_understand_the_declarations(tmp_path: Path) -> None:
    wrong = DOUBLE.replace("return x * np.float32(2)", "return x.shape")
    for code, status in ((DOUBLE, 0), (wrong, 1)):
        (tmp_path / "model.py").write_text(HEAD + code)
        command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path), "model.py"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert (status, "") == (done.returncode, done.stderr), done.stdout
