"""The command itself: its verbs, its errors, and how fast it is there."""

import subprocess
import sys
from pathlib import Path

import pytest

from penstock import __version__
from penstock.cli.main import VERBS, main
from penstock.core.errors import BadSetting
from tests.cli.command import run
from tests.cli.v2_server import V2Server, ok


def test_help_lists_every_verb_without_importing_any(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--help") == 0
    shown = capsys.readouterr().out
    assert all(f"  {verb} " in shown for verb in VERBS)


def test_help_imports_neither_numpy_nor_rich() -> None:
    script = (
        "import sys; from penstock.cli.main import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "print(*{'numpy', 'rich', 'httpx', 'onnxruntime', 'grpc'} & set(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == ""


def test_module_runs_as_the_command_does() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "penstock", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"penstock {__version__}\n"


def test_an_unknown_verb_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("modles") == 2
    assert capsys.readouterr().err == "error: no verb 'modles'; did you mean 'models'?\n"


def test_our_errors_are_one_line_and_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("models", "--url", "ftp://x") == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("error: 'ftp://x' is no address of a server")
    assert shown.err.count("\n") == 1


def test_debug_lets_the_error_through() -> None:
    with pytest.raises(BadSetting):
        main(["--debug", "models", "--url", "ftp://x"])


def test_a_key_may_stand_in_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "key").write_text("secret\n")
    with V2Server(key="secret", routes={"/penstock/models": ok({"models": []})}) as server:
        assert run("models", "--url", server.url, "--json", "--key", f"@{tmp_path}/key") == 0
        assert run("models", "--url", server.url, "--key", f"@{tmp_path}/none") == 2
    shown = capsys.readouterr()
    assert shown.out == "[]\n"
    assert "cannot be read: No such file or directory" in shown.err
