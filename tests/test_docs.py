"""What the documents say is so: blocks run, paths and links lead somewhere, options exist.

A block of README.md under ``<!-- run -->`` is run in a folder that holds ``models/`` as ``penstock init``
writes it, with ``:8000`` and ``:8001`` replaced by the ports of a server of these models.
What stands below a command, or in a ``text`` block right after the block, is the expected output;
``…`` in it stands for anything.
"""

import os
import re
import shutil
import subprocess
import sys
from contextlib import redirect_stdout
from importlib import import_module
from io import StringIO
from pathlib import Path
from typing import NamedTuple

import pytest

from penstock.cli.init import init
from penstock.cli.main import VERBS
from tests.cli.command import run
from tests.e2e.process import environment

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "penstock"
README = (ROOT / "README.md").read_text()
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))

RUN = re.compile(r"<!-- run -->\n```(console|bash|python)\n(.*?)```(?:\n```text\n(.*?)```)?", re.DOTALL)
BLOCKS = list(RUN.finditer(README))
FENCED = re.compile(r"```.*?```", re.DOTALL)
LINK = re.compile(r"\]\(([^)\s#]*)(?:#([^)\s]*))?\)")
CODE = re.compile(r"`([^`\n]+)`")
FILE = re.compile(r"`((?:[\w.-]+/)*[\w-]+\.py)`")
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")


class House(NamedTuple):
    """A folder with the example repository, a server of it, and what that said at its start."""

    folder: Path
    http_port: int
    grpc_port: int
    tries: list[str]

    def bash(self, command):
        if command.startswith("curl") and shutil.which("curl") is None:
            pytest.skip("no curl to try this with")
        return self._run(["bash", "-c", command])

    def python(self, code):
        return self._run([sys.executable, "-c", code])

    def _run(self, command):
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            command, cwd=self.folder, env=environment() | {"PATH": path},
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    def here(self, text):
        return text.replace(":8000", f":{self.http_port}").replace(":8001", f":{self.grpc_port}")


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    folder = tmp_path_factory.mktemp("docs")
    init(folder / "models")
    command = [sys.executable, "-m", "penstock", "serve", "models", "--http-port", "0", "--grpc-port", "0"]
    with subprocess.Popen(
        command, cwd=folder, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            yield House(folder, *_said(process.stdout))
        finally:
            process.terminate()


def _said(lines):
    said = []
    for line in lines:
        said.append(line.strip())
        if " bench " in line:
            break
    ports = [int(re.search(r":(\d+)$", line)[1]) for line in said if line.startswith(("HTTP", "gRPC"))]
    return *ports, said[said.index("Try next") + 1 :]


def matches(expected, output):
    pattern = ".*".join(re.escape(part) for part in expected.strip().split("…"))
    return re.fullmatch(pattern, output.strip(), re.DOTALL) is not None


# -- what can be run ---------------------------------------------------------------------------------


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block[2].splitlines()[0][:40])
def test_blocks_of_the_readme_run_as_they_say(house, block):
    language, code, expected = block[1], house.here(block[2]), block[3] or ""
    if language == "python":
        assert matches(expected, house.python(code))
        return
    for part in code.split("$ ")[1:] if language == "console" else [code]:
        command, _, output = part.partition("\n")
        assert matches(output, house.bash(command if language == "console" else part))


def test_the_readme_has_blocks_that_run():
    assert [block[1] for block in BLOCKS] == ["console", "python", "python"]


@pytest.mark.parametrize("number", range(4))
def test_what_the_screen_says_to_try_can_be_typed_as_it_stands(house, number):
    line = house.tries[number]
    quick = " --duration 0.2 --warmup 0 --concurrency 1" if " bench " in line else ""
    assert "digits-linear" in house.bash(line + quick) + line


def test_the_block_for_the_peers_is_there_to_be_filled():
    assert re.search(
        r"<!-- benchmark:peers -->\n.*benchmarks\.peers.*\n<!-- /benchmark -->", README, re.DOTALL
    )


ARGUMENTS = {
    "cascade": ("models",),
    "async_client": ("http://127.0.0.1:8000",),
    "embed_in_tests": None,
    "own_engine": (),
    "own_policy": ("models",),
    "python_model": (),
}
"""Of each example; None for one that pytest runs."""


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.stem)
def test_examples_run(house, example):
    arguments = ARGUMENTS[example.stem]
    if arguments is None:
        said = house.bash(f"python -m pytest -q -p no:cacheprovider --rootdir . {example}")
        assert "1 passed" in said
    else:
        assert house.bash(house.here(" ".join(["python", str(example), *arguments])))


# -- what is named -----------------------------------------------------------------------------------

NAMING = [ROOT / "CONTRIBUTING.md", *(page for page in PAGES if page.parent.name in ("docs", "decisions"))]


@pytest.mark.parametrize("page", NAMING, ids=lambda page: page.name)
def test_files_that_are_named_exist(page):
    named = set(FILE.findall(page.read_text()))
    assert [name for name in named if not (SOURCE / name).is_file() and not (ROOT / name).is_file()] == []


@pytest.mark.parametrize(("page", "least"), [("request.md", 25), ("control.md", 15)])
def test_the_two_walks_through_the_code_name_its_files(page, least):
    assert len(set(FILE.findall((ROOT / "docs" / page).read_text()))) >= least


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    dead = []
    for target, anchor in LINK.findall(FENCED.sub("", page.read_text())):
        if "://" in target:
            continue
        file = (page.parent / target).resolve() if target else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            dead.append(f"{target}#{anchor}")
    assert dead == []


def anchors(page):
    """The names of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", FENCED.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_page_of_the_guide_is_in_the_index():
    index = (ROOT / "docs" / "README.md").read_text()
    pages = [page.relative_to(ROOT / "docs") for page in PAGES if page.parent.name in ("guide", "decisions")]
    assert [str(page) for page in pages if f"({page})" not in index] == []


@pytest.fixture(scope="module")
def options():
    """The options of every verb and of the verbs below it, as their help shows them."""

    def of(*verb):
        with redirect_stdout(StringIO()) as said:
            assert run(*verb, "--help") == 0
        return set(OPTION.findall(said.getvalue()))

    def below(verb):
        command = import_module(VERBS[verb][0]).command
        return [each.name or each.callback.__name__ for each in getattr(command, "registered_commands", ())]

    return {verb: of(verb).union(*(of(verb, each) for each in below(verb))) for verb in VERBS}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_options_that_are_named_exist(page, options):
    text = page.read_text().replace("\\\n", " ")
    wrong = []
    for verb, rest in re.findall(rf"penstock ({'|'.join(VERBS)})\b([^\n`|;&]*)", text):
        wrong += [f"{verb} {option}" for option in OPTION.findall(rest) if option not in options[verb]]
    known = set().union(*options.values())
    alone = [code for code in CODE.findall(FENCED.sub("", text)) if code.startswith("--")]
    wrong += [option for code in alone for option in OPTION.findall(code)[:1] if option not in known]
    assert wrong == []


def test_a_verb_that_the_docs_name_exists():
    named = set()
    for page in PAGES:
        named |= set(re.findall(r"(?:^\$ |`)penstock ([a-z]+)\b", page.read_text(), re.MULTILINE))
    assert named <= set(VERBS), named - set(VERBS)


def test_a_typo_in_an_option_would_be_found(capsys):
    assert run("serve", "--http-prot", "1") == 2
    assert "--http-prot" in capsys.readouterr().err
