"""What an instance asks of a node is checked where it is set, and completed where it is not."""

import pytest

from penstock.core import resources
from penstock.core.errors import BadSetting
from penstock.core.spec import ModelSpec
from penstock.repository.spec import read_spec
from penstock.settings import load


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"cpu": 1.0}, "here: no resource 'cpu'; did you mean 'CPU'?"),
        ({"gpu": 1.0}, "here: no resource 'gpu'; did you mean 'GPU'?"),
        ({"Memory": 1.0}, "here: no resource 'Memory'; did you mean 'memory'?"),
        ({"": 1.0}, "here: no resource ''; have CPU, GPU, memory, or your cluster's own"),
        ({"object_store_memory": 1.0}, "no resource 'object_store_memory'"),
        ({"GPU": 1.5}, "here.GPU is 1.5; above 1 it must be a whole number"),
        ({"CPU": 1e-5}, "here.CPU is 1e-05; it must be 0, or at least 0.0001"),
    ],
)
def test_what_no_node_could_have_is_refused(asked, said):
    with pytest.raises(BadSetting) as told:
        resources.check(asked, "here")
    assert said in str(told.value)


def test_parts_of_a_gpu_and_a_clusters_own_resources_are_fine():
    resources.check({"GPU": 0.25, "CPU": 1.5, "large": 3.0, "node:10.0.0.7": 0.01}, "here")


@pytest.mark.parametrize(
    ("asked", "threads", "device", "whole"),
    [
        ({}, 0, "auto", {"CPU": 1}),
        ({}, 4, "cpu", {"CPU": 4}),
        ({"CPU": 0.5}, 4, "cpu", {"CPU": 0.5}),
        ({"CPU": 0.0, "large": 1.0}, 1, "cpu", {"large": 1}),
        ({}, 1, "cuda:0", {"CPU": 1, "GPU": 1}),
        ({"GPU": 0.5}, 1, "cuda", {"CPU": 1, "GPU": 0.5}),
    ],
)
def test_a_core_for_each_thread_and_a_gpu_for_its_device_unless_named(asked, threads, device, whole):
    assert resources.wanted(asked, threads, device) == whole


def test_threads_are_those_named_else_the_whole_cores():
    named = [({}, 0), ({"CPU": 0.5}, 0), ({"CPU": 3.0}, 0), ({"CPU": 3.0}, 2)]
    assert [resources.threads(*each) for each in named] == [1, 1, 3, 2]


def test_words_leave_out_what_ray_keeps_for_itself():
    whole = {"CPU": 2.0, "memory": 3 * 2.0**30, "node:10.0.0.7": 1.0, "object_store_memory": 5.0}
    assert resources.words(whole) == "{CPU: 2, memory: 3 GiB}"


def test_a_models_settings_are_checked_where_they_are_read(tmp_path):
    (tmp_path / "model.toml").write_text("[instances]\nresources = { cpu = 2 }\n")
    with pytest.raises(BadSetting, match=r"model\.toml: instances\.resources: no resource 'cpu'"):
        read_spec(tmp_path, ModelSpec())
    with pytest.raises(BadSetting, match=r"model\.instances\.resources: no resource 'cpu'"):
        load(None, {"PENSTOCK_MODEL_INSTANCES_RESOURCES": "{ cpu = 2 }"}, {})
