import pytest

from penstock.core.errors import LoadFailed
from penstock.optimize.passes import network


def test_a_package_that_is_missing_is_named_with_what_to_install():
    with pytest.raises(LoadFailed, match=r"pass 'ir' needs OpenVINO: pip install 'penstock\[optimize\]'"):
        network.require("no_such_package", "ir", "OpenVINO", "optimize")


def test_few_rows_are_taken_over_and_over(tmp_path):
    from tests.optimize.passes import toy

    file = toy.program(tmp_path)
    found = network.examples(toy.source(file, toy.spec(file, "")), toy.images(1), 3)
    assert found["image"].shape == (3, 1, toy.SIZE, toy.SIZE)
