"""config.pbtxt: what takes effect, what is warned of, what is refused; and ModelConfig of what runs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core.errors import BadSetting
from penstock.core.spec import Batching, Instances, ModelSpec, Onnx, Queue, Signature, Target, TensorSpec
from penstock.core.types import ModelState
from penstock.proto.model_config_pb2 import ModelConfig
from penstock.repository.triton import from_json, parse, to_config, to_json

WHERE = "digits/config.pbtxt"


def read(text):
    """The spec of a text that must not give a warning."""
    spec, warnings = parse(text, WHERE)
    assert warnings == []
    return spec


def warnings_of(text):
    return [warning.removeprefix(f"{WHERE}: ") for warning in parse(text, WHERE)[1]]


def test_a_whole_file():
    spec = read(
        """
        name: "digits"  # the folder's name
        platform: "onnxruntime_onnx"
        max_batch_size: 16
        default_model_filename: "net.onnx"
        input [ { name: "x" data_type: TYPE_FP32 format: FORMAT_NONE dims: [ -1, 8 ] } ]
        output { name: "y", data_type: TYPE_FP32; dims: 10 label_filename: "labels" ".txt" }
        version_policy: { latest { num_versions: 2 } }
        instance_group [ { name: "g" count: 2 kind: KIND_CPU }, < kind: KIND_AUTO > ]
        dynamic_batching {
          preferred_batch_size: [ 4, 8 ]
          max_queue_delay_microseconds: 1500
          preserve_ordering: false
          priority_levels: 3
          default_priority_level: 2
          default_queue_policy {
            default_timeout_microseconds: 250000 max_queue_size: 7 allow_timeout_override: true
          }
        }
        parameters { key: "intra_op_thread_count" value: { string_value: "3" } }
        parameters: { key: "note", value: { string_value: "hi" } }
        """
    )
    assert spec == ModelSpec(
        name="digits",
        engine="onnx",
        file="net.onnx",
        versions="latest 2",
        batching=Batching(policy="fixed", max_rows=16, preferred=(4, 8), max_delay_ms=1.5),
        queue=Queue(max_rows=7, timeout_ms=250.0, default_priority=2, max_priority=3),
        instances=Instances(count=3, threads=3),
        labels={"y": "labels.txt"},
        parameters={"note": "hi"},
    )


@pytest.mark.parametrize(
    ("text", "policy", "rows"),
    [
        ("", "none", 0),
        ("max_batch_size: 0", "none", 0),
        ("max_batch_size: 8", "slo", 8),
        ("max_batch_size: 8 dynamic_batching {}", "slo", 8),
        ("max_batch_size: 8 dynamic_batching { preferred_batch_size: 4 }", "fixed", 8),
        ("max_batch_size: 8 dynamic_batching { max_queue_delay_microseconds: 1 }", "fixed", 8),
    ],
)
def test_the_batch_policy_follows_the_numbers_given(text, policy, rows):
    batching = read(text).batching
    assert (batching.policy, batching.max_rows) == (policy, rows)


@pytest.mark.parametrize(
    ("text", "versions"),
    [
        ("", "latest"),
        ("version_policy { latest {} }", "latest"),
        ("version_policy { latest { num_versions: 3 } }", "latest 3"),
        ("version_policy { all {} }", "all"),
        ("version_policy { specific { versions: [ 1, 12 ] } }", ("1", "12")),
    ],
)
def test_version_policies(text, versions):
    assert read(text).versions == versions


@pytest.mark.parametrize(
    ("text", "engine"),
    [
        ('backend: "onnxruntime"', "onnx"),
        ('platform: "onnxruntime_onnx"', "onnx"),
        ('backend: "onnxruntime" platform: "x"', "onnx"),
        ('backend: "openvino"', "openvino"),
        ('platform: "tensorflow_graphdef"', "tensorflow_graphdef"),
        ("", ""),
    ],
)
def test_the_engine_is_the_backend_else_the_platform(text, engine):
    assert read(text).engine == engine


def accelerator(side, name, **parameters):
    inner = " ".join(f'parameters {{ key: "{key}" value: "{value}" }}' for key, value in parameters.items())
    return (
        f"optimization {{ execution_accelerators {{ {side}_execution_accelerator : "
        f'[ {{ name: "{name}" {inner} }} ] }} }}'
    )


def test_accelerators_come_before_the_cpu():
    assert read(accelerator("cpu", "openvino")).onnx == Onnx(
        providers=("OpenVINOExecutionProvider", "CPUExecutionProvider")
    )
    assert read(accelerator("gpu", "cuda", gpu_mem_limit="99")).onnx == Onnx(
        providers=("CUDAExecutionProvider", "CPUExecutionProvider"),
        provider_options={"CUDAExecutionProvider": {"gpu_mem_limit": "99"}},
    )


def test_tensorrt_options_get_their_onnx_runtime_names():
    text = accelerator(
        "gpu", "tensorrt", precision_mode="FP16", max_workspace_size_bytes="9", trt_engine_cache_enable="1"
    )
    assert read(text).onnx.provider_options["TensorrtExecutionProvider"] == {
        "trt_fp16_enable": "1",
        "trt_max_workspace_size": "9",
        "trt_engine_cache_enable": "1",
    }


def test_onnx_runtime_parameters_become_session_options():
    keys = {
        "inter_op_thread_count": "2",
        "execution_mode": "1",
        "session.disable_prepacking": "1",
        "mine": "x",
    }
    text = "".join(f'parameters {{ key: "{k}" value {{ string_value: "{v}" }} }}\n' for k, v in keys.items())
    spec = read(text + "optimization { graph { level: 1 } }")
    assert spec.onnx.session == {
        "graph_optimization_level": "ORT_ENABLE_EXTENDED",
        "inter_op_num_threads": 2,
        "execution_mode": "ORT_PARALLEL",
        "session.disable_prepacking": "1",
    }
    assert spec.parameters == {"mine": "x"}


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ('model_warmup [ { name: "w" batch_size: 1 } ]', "model_warmup"),
        ("response_cache { enable: true }", "response_cache"),
        ("sequence_batching { direct {} }", "sequence_batching"),
        ("model_transaction_policy { decoupled: true }", "model_transaction_policy"),
        ('metric_tags { key: "a" value: "b" }', "metric_tags"),
        ('runtime: "x"', "runtime"),
        ("dynamic_batching { preserve_ordering: true }", "dynamic_batching.preserve_ordering"),
        (
            "dynamic_batching { default_queue_policy { timeout_action: DELAY } }",
            "dynamic_batching.default_queue_policy.timeout_action",
        ),
        ("instance_group [ { gpus: [0] }, { gpus: [1] } ]", "instance_group.gpus"),
        ("instance_group { kind: KIND_GPU }", "instance_group.kind KIND_GPU"),
        ("optimization { cuda { graphs: true } }", "optimization.cuda"),
        ('input { name: "x" reshape { shape: [] } }', "input.reshape"),
        ('output { name: "y" reshape { shape: 1 } }', "output.reshape"),
        (accelerator("cpu", "magic"), "execution accelerator 'magic'"),
        (accelerator("cpu", "openvino", a="1"), "parameter 'a' of execution accelerator 'openvino'"),
    ],
)
def test_a_field_without_a_meaning_is_warned_of_once(text, path):
    [warning] = warnings_of(text)
    assert warning.startswith(f"{path} has no effect here")


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ("max_batchsize: 3", "no field 'max_batchsize', so it has no effect; did you mean 'max_batch_size'?"),
        ("inputs [ { a: 1 } ]", "no field 'inputs', so it has no effect; did you mean 'input'?"),
        ('input { nme: "x" }', "no field 'input.nme', so it has no effect; did you mean 'name'?"),
        (
            'parameters { key: "a" value { string: "x" } }',
            "no field 'parameters.value.string', so it has no effect; did you mean 'string_value'?",
        ),
        (
            "input < dimms: [\n 1, -2 ], optional: false >",
            "no field 'input.dimms', so it has no effect; did you mean 'dims'?",
        ),
        (
            "\tinputs [\n { a: 'x' \"]\" b { c: 1 } },\n < d: -inf > ] ;",
            "no field 'inputs', so it has no effect; did you mean 'input'?",
        ),
    ],
)
def test_an_unknown_field_names_the_nearest(text, warning):
    """What follows it is still read."""
    spec, _ = parse(text + ' name: "digits"', WHERE)
    assert spec.name == "digits"
    assert warnings_of(text) == [warning]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('name: "a"\nmax_batch_size: many', f"{WHERE}, line 2, column 17: "),
        ('name: "a', f"{WHERE}, line 1, column 7: "),
        ("input [ { data_type: TYPE_FLOAT } ]", "has no value named TYPE_FLOAT"),
        ("}", f"{WHERE}, line 1, column 1: "),
        ("foo: 1\nbar [ {\n} ] max_batch_size: x", f"{WHERE}, line 3, column 21: "),
        ("foo: [ 1, 2\nname: 3", f'{WHERE}, line 2, column 7: the text ends before a "]"'),
        ("foo { a: 1", f'{WHERE}, line 1, column 10: the text ends before a "}}"'),
        ("input { " * 5000, "nested too deep"),
        ("max_batch_size: -1", f"{WHERE}: max_batch_size is -1; it must be 0 or more"),
        ("instance_group { count: -1 }", "instance_group.count is -1; it must be 0 or more"),
        (
            "max_batch_size: 4 dynamic_batching { preferred_batch_size: 8 }",
            "preferred_batch_size is [8]; each must be 1 to max_batch_size, 4",
        ),
        (
            "dynamic_batching { priority_levels: 2 default_priority_level: 3 }",
            "default_priority_level is 3; it must be 1 to priority_levels, 2",
        ),
        ("optimization { graph { level: 5 } }", "optimization.graph.level is 5; have 0, -1, 1, 2"),
        (
            'parameters { key: "intra_op_thread_count" value { string_value: "two" } }',
            "parameter 'intra_op_thread_count' is 'two'; it must be a whole number, 0 or more",
        ),
        (
            'parameters { key: "execution_mode" value { string_value: "2" } }',
            "'execution_mode' is '2'; have 0",
        ),
    ],
)
def test_what_cannot_be_is_refused(text, message):
    with pytest.raises(BadSetting) as caught:
        parse(text, WHERE)
    assert message in str(caught.value)


TOKENS = st.sampled_from(
    [
        *"{}[]<>:,;-",
        "name",
        "input",
        "dims",
        "nope",
        "1",
        '"a"',
        "'b'",
        "parameters",
        "key",
        "value",
        "\n",
        "# c\n",
    ]
)


@given(st.lists(TOKENS, max_size=25).map(" ".join))
def test_no_text_does_worse_than_a_bad_setting(text):
    try:
        parse(text, WHERE)
    except BadSetting:
        pass


def test_json_is_read_like_text():
    spec, warnings = from_json(
        '{"name": "digits", "maxBatchSize": 8, "version_policy": {"specific": {"versions": ["3"]}},'
        ' "instance_group": [{"count": 2, "kind": "KIND_CPU"}], "nam": 1,'
        ' "parameters": {"k": {"string_value": "v", "strin": 1}}}'
    )
    assert (spec.name, spec.batching.max_rows, spec.versions, spec.instances.count) == (
        "digits",
        8,
        ("3",),
        2,
    )
    assert spec.parameters == {"k": "v"}
    assert warnings == [
        "config: no field 'nam', so it has no effect; did you mean 'name'?",
        "config: no field 'parameters.k.strin', so it has no effect; have string_value",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "config, line 1, column 2: "),
        ("[]", "config: it must be a JSON object"),
        ('{"name": 3}', "config: Failed to parse name field"),
        ('{"instance_group": [{"kind": "KIND_TPU"}]}', "KIND_TPU"),
        ('{"max_batch_size": -1}', "config: max_batch_size is -1"),
        ("[" * 100_000, "config, line 1"),
        ('{"input": [{"dims": ' + "[" * 500 + "]" * 500 + "}]}", "config: "),
    ],
)
def test_bad_json_is_refused(text, message):
    with pytest.raises(BadSetting) as caught:
        from_json(text)
    assert message in str(caught.value)


STATE = ModelState(
    name="digits",
    version="3",
    state="READY",
    platform="onnxruntime_onnx",
    spec=ModelSpec(
        name="digits",
        engine="onnx",
        file="net.onnx",
        versions="latest 2",
        batching=Batching(policy="fixed", max_rows=16, preferred=(4, 8), max_delay_ms=1.5),
        queue=Queue(max_rows=7, timeout_ms=250.0, default_priority=2, max_priority=3),
        instances=Instances(count=2, threads=3),
        labels={"y": "labels.txt"},
        parameters={"note": "hi"},
    ),
    signature=Signature((TensorSpec("x", "BYTES", (-1, 8)),), (TensorSpec("y", "BF16", (-1,)),)),
    batched=True,
    instances=2,
    threads=3,
)


def replaced(**changes):
    return ModelState(**{name: getattr(STATE, name) for name in STATE.__struct_fields__} | changes)


def test_config_is_what_triton_would_show():
    assert to_json(to_config(STATE)) == {
        "name": "digits",
        "platform": "onnxruntime_onnx",
        "backend": "onnxruntime",
        "runtime": "",
        "version_policy": {"latest": {"num_versions": 2}},
        "max_batch_size": 16,
        "input": [
            {
                "name": "x",
                "data_type": "TYPE_STRING",
                "format": "FORMAT_NONE",
                "dims": [8],
                "is_shape_tensor": False,
                "allow_ragged_batch": False,
                "optional": False,
            }
        ],
        "output": [
            {
                "name": "y",
                "data_type": "TYPE_BF16",
                "dims": [],
                "label_filename": "labels.txt",
                "is_shape_tensor": False,
            }
        ],
        "batch_input": [],
        "batch_output": [],
        "dynamic_batching": {
            "preferred_batch_size": [4, 8],
            "max_queue_delay_microseconds": 1500,
            "preserve_ordering": False,
            "priority_levels": 3,
            "default_priority_level": 2,
            "default_queue_policy": {
                "timeout_action": "REJECT",
                "default_timeout_microseconds": 250000,
                "allow_timeout_override": True,
                "max_queue_size": 7,
            },
            "priority_queue_policy": {},
        },
        "instance_group": [
            {
                "name": "digits_0",
                "kind": "KIND_CPU",
                "count": 2,
                "gpus": [],
                "secondary_devices": [],
                "profile": [],
                "passive": False,
                "host_policy": "",
            }
        ],
        "default_model_filename": "net.onnx",
        "cc_model_filenames": {},
        "metric_tags": {},
        "parameters": {"note": {"string_value": "hi"}, "intra_op_thread_count": {"string_value": "3"}},
        "model_warmup": [],
    }


def test_a_config_reads_back_as_the_spec_it_came_from():
    import orjson

    spec, warnings = from_json(orjson.dumps(to_json(to_config(STATE))))
    assert (spec, warnings) == (STATE.spec, [])


def test_unbatched_dims_are_whole():
    config = to_config(replaced(batched=False))
    assert config.max_batch_size == 0
    assert [list(one.dims) for one in (*config.input, *config.output)] == [[-1, 8], [-1]]
    assert not config.HasField("dynamic_batching")


@pytest.mark.parametrize("versions", ["latest", "all", ("1", "2")])
def test_version_policies_read_back(versions):
    config = to_config(replaced(spec=ModelSpec(versions=versions)))
    assert parse(str(config), WHERE)[0].versions == versions


def test_the_target_is_the_default_timeout_and_the_provider_the_kind():
    spec = ModelSpec(target=Target(p99_ms=20), onnx=Onnx(providers=("CUDAExecutionProvider",)))
    config = to_config(replaced(spec=spec))
    assert config.dynamic_batching.default_queue_policy.default_timeout_microseconds == 20_000
    assert to_json(config)["instance_group"][0]["kind"] == "KIND_GPU"


def test_map_keys_are_text_and_wide_numbers_are_numbers():
    config = ModelConfig()
    config.dynamic_batching.priority_queue_policy[2**60].default_timeout_microseconds = 2**60
    shown = to_json(config)["dynamic_batching"]["priority_queue_policy"]
    assert shown[str(2**60)]["default_timeout_microseconds"] == 2**60
