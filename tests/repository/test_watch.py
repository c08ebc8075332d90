"""Orders from scans: nothing torn is loaded, nothing that serves goes before its replacement serves."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from penstock.core.spec import ModelSpec
from penstock.repository.layout import ModelFolder, VersionFolder
from penstock.repository.versions import wanted
from penstock.repository.watch import (
    Forget,
    Load,
    Memory,
    Order,
    Report,
    Unload,
    again,
    applied,
    decide,
    failed,
    hold,
    release,
)

SETTLE = 1.0


def scan(
    versions: Mapping[str, int],
    policy: str | tuple[str, ...] = "latest",
    *,
    spec: int = 0,
    error: str = "",
    broken: bool = False,
) -> dict[str, ModelFolder]:
    """Model ``m`` with these versions; the numbers stand for what is in the files."""
    folders = {
        name: VersionFolder(name, Path(f"m/{name}/model.onnx"), (("model.onnx", size, 0),))
        for name, size in versions.items()
    }
    model = None if broken else ModelSpec(name="m", versions=policy)
    return {"m": ModelFolder("m", model, error, (("model.toml", spec, 0),), {} if broken else folders)}


class Server:
    """Carries orders out at once; versions whose files are in ``bad`` fail."""

    def __init__(self) -> None:
        self.memory: Memory = {}
        self.now = 0.0
        self.bad: set[int] = set()
        self.serving: dict[str, int] = {}

    def round(self, seen: Mapping[str, ModelFolder], wait: float = 0.0, settle: float = SETTLE) -> list[str]:
        """One round after ``wait`` seconds; returns its orders as words."""
        self.now += wait
        orders, self.memory = decide(seen, self.memory, self.now, settle)
        for order in orders:
            if isinstance(order, Load):
                self.load(order)
            elif isinstance(order, Unload):
                del self.serving[order.version]
        return [word(order) for order in orders]

    def load(self, order: Load) -> None:
        content = order.fingerprint[1][0][1]
        if content in self.bad:
            self.memory = failed(self.memory, order)
        else:
            self.memory = applied(self.memory, order)
            self.serving[order.version] = content

    def start(self, seen: Mapping[str, ModelFolder]) -> list[str]:
        return self.round(seen, settle=0.0)


def word(order: Order) -> str:
    if isinstance(order, Report):
        return f"report {order.reason}"
    if isinstance(order, Forget):
        return "forget"
    return f"{'load' if isinstance(order, Load) else 'unload'} {order.version}"


def test_the_first_scan_loads_what_is_wanted_at_once() -> None:
    assert Server().start(scan({"9": 1, "10": 1})) == ["load 10"]
    assert Server().start(scan({"9": 1, "10": 1}, "all")) == ["load 10", "load 9"]


def test_an_order_carries_path_and_spec() -> None:
    orders, _ = decide(scan({"1": 5}), {}, 0.0, 0.0)
    expected = Load(
        "m",
        "1",
        Path("m/1/model.onnx"),
        ModelSpec(name="m"),
        ((("model.toml", 0, 0),), (("model.onnx", 5, 0),)),
    )
    assert [expected] == orders


def test_nothing_changed_orders_nothing() -> None:
    server = Server()
    server.start(scan({"1": 1}))
    assert [server.round(scan({"1": 1}), 5.0) for _ in range(2)] == [[], []]


def test_a_new_version_is_loaded_when_settled_and_only_then_replaces_the_old() -> None:
    server = Server()
    server.start(scan({"1": 1}))
    new = scan({"1": 1, "2": 1})
    assert [server.round(new, wait) for wait in (1, 0.9, 0.1, 0, 0)] == [[], [], ["load 2"], ["unload 1"], []]
    assert server.serving == {"2": 1}


def test_a_file_that_grows_is_not_loaded_until_it_stops() -> None:
    server = Server()
    server.start(scan({"1": 1}))
    growing = [server.round(scan({"1": 1, "2": size}), 0.9) for size in range(10)]
    assert growing == [[]] * 10
    assert server.round(scan({"1": 1, "2": 9}), 1.0) == ["load 2"]


def test_an_unanswered_load_is_not_ordered_again_and_holds_unloads_back() -> None:
    seen = scan({"1": 1, "2": 1})
    server = Server()
    server.start(scan({"1": 1}))
    server.round(seen)
    orders, memory = decide(seen, server.memory, 2.0, SETTLE)
    assert [word(order) for order in orders] == ["load 2"]
    orders, memory = decide(seen, memory, 3.0, SETTLE)
    assert orders == []
    changed = scan({"1": 1, "2": 2})
    for now in (4.0, 6.0):
        orders, memory = decide(changed, memory, now, SETTLE)
        assert orders == []
    load = Load("m", "2", Path(), ModelSpec(), ((("model.toml", 0, 0),), (("model.onnx", 1, 0),)))
    orders, memory = decide(changed, applied(memory, load), 7.0, SETTLE)
    assert [word(order) for order in orders] == ["load 2"]


@pytest.mark.parametrize("change", [scan({"1": 2}), scan({"1": 1}, spec=1)])
def test_changed_files_or_settings_mean_a_reload(change: dict[str, ModelFolder]) -> None:
    server = Server()
    server.start(scan({"1": 1}))
    assert [server.round(change, 1.0) for _ in range(3)] == [[], ["load 1"], []]


def test_files_that_change_back_need_no_reload() -> None:
    server = Server()
    server.start(scan({"1": 1}))
    server.round(scan({"1": 2}), 0.5)
    assert [server.round(scan({"1": 1}), 2.0) for _ in range(2)] == [[], []]


def test_a_version_that_fails_leaves_the_old_one_and_is_not_tried_again() -> None:
    server = Server()
    server.bad = {66}
    server.start(scan({"1": 1}))
    seen = scan({"1": 1, "2": 66})
    assert [server.round(seen, 1.0) for _ in range(4)] == [[], ["load 2"], [], []]
    assert server.serving == {"1": 1}
    fixed = scan({"1": 1, "2": 2})
    assert [server.round(fixed, 1.0) for _ in range(3)] == [[], ["load 2"], ["unload 1"]]


def test_a_reload_that_fails_leaves_what_serves() -> None:
    server = Server()
    server.bad = {66}
    server.start(scan({"1": 1, "2": 2}))
    seen = scan({"1": 1, "2": 66})
    assert [server.round(seen, 1.0) for _ in range(4)] == [[], ["load 2"], [], []]
    assert server.serving == {"2": 2}


def test_latest_falls_back_to_the_newest_that_loads() -> None:
    server = Server()
    server.bad = {66}
    seen = scan({"1": 1, "2": 2, "3": 66})
    assert server.start(seen) == ["load 3"]
    assert [server.round(seen, 1.0) for _ in range(2)] == [["load 2"], []]


def test_latest_n_keeps_n_that_load() -> None:
    server = Server()
    server.bad = {66}
    server.start(scan({"1": 1, "2": 2}, "latest 2"))
    seen = scan({"1": 1, "2": 2, "3": 66}, "latest 2")
    for _ in range(4):
        server.round(seen, 1.0)
    assert server.serving == {"1": 1, "2": 2}


def test_a_removed_newest_version_rolls_back() -> None:
    server = Server()
    server.start(scan({"1": 1, "2": 1}))
    assert [server.round(scan({"1": 1}), 1.0) for _ in range(2)] == [["load 1"], ["unload 2"]]


def test_a_listed_version_that_is_absent_is_reported_and_the_others_serve() -> None:
    server = Server()
    seen = scan({"1": 1}, ("1", "7"))
    said = "report versions: 7 asked for but not found; have 1"
    assert server.start(seen) == [said, "load 1"]
    assert server.round(seen, 9.0) == []
    complete = scan({"1": 1, "7": 1}, ("1", "7"))
    assert [server.round(complete, 1.0) for _ in range(2)] == [[], ["report ", "load 7"]]


def test_what_serves_stays_when_nothing_wanted_is_there() -> None:
    server = Server()
    server.start(scan({"1": 1}))
    for seen in (scan({"1": 1}, ("7",)), scan({}, error="no version")):
        server.round(seen, 9.0)
        server.round(seen, 9.0)
        assert server.serving == {"1": 1}


def test_broken_settings_are_reported_once_settled_and_everything_serves_on() -> None:
    server = Server()
    server.start(scan({"1": 1}))
    broken = scan({}, error="line 3", broken=True)
    rounds = [server.round(broken, 0.5) for _ in range(4)]
    assert rounds == [[], [], ["report line 3"], []]
    mended = [server.round(scan({"1": 1}, spec=1), 1.0) for _ in range(3)]
    assert mended == [[], ["report ", "load 1"], []]


def test_settings_half_written_are_not_reported() -> None:
    server = Server()
    server.start(scan({"1": 1}))
    assert server.round(scan({}, error="line 3", broken=True), 0.5) == []
    assert [server.round(scan({"1": 1}), 1.0) for _ in range(2)] == [[], []]


def test_a_removed_model_is_unloaded_and_forgotten_when_it_stays_away() -> None:
    server = Server()
    server.start(scan({"1": 1, "2": 1}, "all"))
    assert server.round({}, 1.0) == []
    assert server.round(scan({"1": 1, "2": 1}, "all"), 0.5) == []
    rounds = [server.round({}, 0.6) for _ in range(4)]
    assert rounds == [[], [], ["unload 2", "unload 1", "forget"], []]
    assert server.memory == {}


def test_a_load_that_ends_after_its_model_is_gone_is_undone() -> None:
    orders, memory = decide(scan({"1": 1}), {}, 0.0, 0.0)
    for now in (1.0, 2.0):
        none, memory = decide({}, memory, now, SETTLE)
        assert none == []
    assert isinstance(orders[0], Load)
    undo, memory = decide({}, applied(memory, orders[0]), 3.0, SETTLE)
    assert [word(order) for order in undo] == ["unload 1", "forget"]
    assert memory == {}


def test_a_held_model_is_unloaded_and_stays_so_until_released() -> None:
    server = Server()
    server.start(scan({"1": 1}))
    server.memory = hold(server.memory, "m")
    held = [server.round(scan({"1": 1, "2": 2}), 1.0) for _ in range(3)]
    assert held == [["unload 1"], [], []]
    server.memory = release(server.memory, "m")
    assert [server.round(scan({"1": 1, "2": 2}), 1.0) for _ in range(3)] == [[], ["load 2"], []]


def test_release_loads_again_what_failed_and_what_serves() -> None:
    server = Server()
    server.bad = {66}
    seen = scan({"1": 1, "2": 66}, "all")
    server.start(seen)
    server.memory = release(server.memory, "m")
    assert server.round(seen, 1.0) == ["load 2", "load 1"]


@pytest.mark.parametrize(("version", "ordered"), [("1", ["load 1"]), ("2", ["load 2"])])
def test_one_version_is_loaded_again_be_it_serving_or_failed(version: str, ordered: list[str]) -> None:
    """For pipelines, whose files say nothing of the models that they need."""
    server = Server()
    server.bad = {66}
    seen = scan({"1": 1, "2": 66}, "all")
    server.start(seen)
    server.memory = again(server.memory, "m", version)
    assert [server.round(seen, 1.0) for _ in range(2)] == [ordered, []]
    assert server.serving == {"1": 1}


def test_models_do_not_disturb_each_other() -> None:
    one, other = scan({"1": 1})["m"], scan({}, error="bad", broken=True)["m"]
    orders, memory = decide({"a": one, "b": other}, {}, 0.0, 0.0)
    assert [word(order) for order in orders] == ["load 1", "report bad"]
    assert list(memory) == ["a", "b"]


VERSIONS = st.sampled_from(["1", "2", "9", "10"])
POLICIES = st.sampled_from(["latest", "latest 2", "all", ("1",), ("2", "10"), ("7",)])


class Life(RuleBasedStateMachine):
    """A disk that people write to in any order, and a server that does as it is told, sooner or later."""

    def __init__(self) -> None:
        super().__init__()
        self.contents: dict[str, int] = {}
        self.torn: set[str] = set()
        self.bad: set[int] = set()
        self.torn_contents: set[int] = set()
        self.next = 0
        self.policy: str | tuple[str, ...] = "latest"
        self.spec = 0
        self.broken = self.away = self.held = False
        self.serving: dict[str, int] = {}
        self.pending: list[Load] = []
        self.memory: Memory = {}
        self.now = 0.0

    def fresh(self) -> int:
        self.next += 1
        return self.next

    @initialize()
    def start(self) -> None:
        self.finish("1", True)
        self.carry_on()

    @rule()
    def mend(self) -> None:
        if self.away or self.broken:
            self.move_folder(False)
            self.edit_policy(self.policy)
        if self.held:
            self.release()

    @rule()
    def carry_on(self) -> None:
        """Long enough for what is there to be loaded and what it replaces to be unloaded."""
        for _ in range(3):
            self.tick(1.0)
            self.answer_all()

    @rule(version=VERSIONS)
    def begin_to_write(self, version: str) -> None:
        self.torn.add(version)

    @rule(version=VERSIONS, good=st.booleans())
    def finish(self, version: str, good: bool) -> None:
        self.torn.discard(version)
        self.contents[version] = self.fresh()
        if not good:
            self.bad.add(self.contents[version])

    @rule(version=VERSIONS)
    def delete(self, version: str) -> None:
        self.torn.discard(version)
        self.contents.pop(version, None)

    @rule(policy=POLICIES)
    def edit_policy(self, policy: str | tuple[str, ...]) -> None:
        self.policy, self.spec, self.broken = policy, self.fresh(), False

    @rule()
    def break_settings(self) -> None:
        self.broken, self.spec = True, self.fresh()

    @rule(away=st.booleans())
    def move_folder(self, away: bool) -> None:
        self.away = away

    @rule()
    def hold(self) -> None:
        self.memory, self.held = hold(self.memory, "m"), True

    @rule()
    def release(self) -> None:
        self.memory, self.held = release(self.memory, "m"), False

    @rule(passed=st.sampled_from([0.0, 0.4, 0.9, 1.0, 3.0]))
    def tick(self, passed: float) -> None:
        self.now += passed
        for version in self.torn:  # whoever writes, writes on
            self.contents[version] = self.fresh()
            self.torn_contents.add(self.contents[version])
        seen = {} if self.away else scan(self.contents, self.policy, spec=self.spec, broken=self.broken)
        orders, self.memory = decide(seen, self.memory, self.now, SETTLE)
        loads_over = False
        for order in orders:
            if isinstance(order, Load):
                assert not loads_over
                assert not any(order.version == other.version for other in self.pending)
                self.pending.append(order)
            elif isinstance(order, Unload):
                loads_over = True
                self.unload(order.version)
            elif isinstance(order, Forget):
                self.held = False

    def unload(self, version: str) -> None:
        del self.serving[version]
        if self.away or self.held:
            return
        assert self.serving, "the last serving version was unloaded"
        able = [name for name in self.contents if name in self.serving or self.contents[name] not in self.bad]
        for name in wanted(able, self.policy):
            assert name in self.serving, f"{version} was unloaded before {name} served"

    @precondition(lambda self: self.pending)
    @rule()
    def answer(self) -> None:
        order = self.pending.pop(0)
        content = order.fingerprint[1][0][1]
        assert content not in self.torn_contents, "a torn write was loaded"
        if content in self.bad:
            self.memory = failed(self.memory, order)
        else:
            self.memory = applied(self.memory, order)
            self.serving[order.version] = content

    def answer_all(self) -> None:
        while self.pending:
            self.answer()

    @invariant()
    def memory_knows_what_serves(self) -> None:
        known = self.memory["m"].applied if "m" in self.memory else {}
        assert set(known) == set(self.serving)

    @rule()
    def quiet(self) -> None:
        """Left alone, the server comes to serve exactly what is wanted of what loads."""
        for version in sorted(self.torn):
            self.finish(version, True)
        for _ in range(14):
            self.tick(1.0)
            self.answer_all()
        if self.away or self.held:
            assert self.serving == {}
            return
        if self.broken:
            return
        able = [name for name in self.contents if name in self.serving or self.contents[name] not in self.bad]
        expected = wanted(able, self.policy)
        if expected:
            assert sorted(expected) == sorted(self.serving)
            for name in expected:
                assert self.contents[name] in (self.serving[name], *self.bad)


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
