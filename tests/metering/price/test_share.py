"""The server bears the part of the machine that it may use."""

from pathlib import Path

import pytest

from penstock.core.cgroup import quota
from penstock.metering.price.share import mine, share


@pytest.mark.parametrize(
    ("setting", "total", "usable", "limit", "expected"),
    [
        (0.0, 8, 8, None, 1.0),
        (0.0, 8, 2, None, 0.25),
        (0.0, 8, 8, 2.0, 0.25),
        (0.0, 8, 2, 4.0, 0.25),
        (0.0, 8, 8, 0.5, 0.0625),
        (0.0, 8, 8, 16.0, 1.0),
        (0.5, 8, 2, 1.0, 0.5),
        (1.0, 8, 2, None, 1.0),
        (0.0, 0, 0, None, 1.0),
        (0.0, 2, 4, None, 1.0),
    ],
)
def test_share_is_the_setting_or_processors_usable_over_processors_there(
    setting: float, total: int, usable: int, limit: float | None, expected: float
) -> None:
    assert expected == share(setting, total, usable, limit)


def groups(tmp_path: Path, own: str, **limits: str) -> tuple[Path, Path]:
    proc = tmp_path / "cgroup"
    proc.write_text(f"0::{own}\n")
    root = tmp_path / "fs"
    for name, limit in limits.items():
        folder = root / name.replace("root", "").replace("__", "/")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "cpu.max").write_text(limit + "\n")
    return root, proc


def test_in_a_container_the_limit_stands_at_the_root(tmp_path: Path) -> None:
    assert quota(*groups(tmp_path, "/", root="150000 100000")) == 1.5


def test_the_least_limit_of_the_groups_around_counts(tmp_path: Path) -> None:
    root, proc = groups(tmp_path, "/a/b/c", a="200000 100000", a__b="100000 100000", a__b__c="max 100000")
    assert quota(root, proc) == 1.0


@pytest.mark.parametrize("limit", ["max 100000", "", "rubbish", "1 0"])
def test_no_limit_is_none(tmp_path: Path, limit: str) -> None:
    assert quota(*groups(tmp_path, "/", root=limit)) is None


def test_no_control_group_is_no_limit(tmp_path: Path) -> None:
    assert quota(tmp_path / "fs", tmp_path / "proc") is None


def test_this_machine_has_a_share() -> None:
    assert 0 < mine(0.0) <= 1
    assert mine(0.25) == 0.25
