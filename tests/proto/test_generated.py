"""The generated message modules: fresh, and equal to NVIDIA's wherever both have a message."""

import ast

import pytest
from google.protobuf.descriptor_pb2 import DescriptorProto

from penstock.proto import grpc_service_pb2, model_config_pb2

NEWER = {"response_stats", "runtime", "model_metrics"}
"""Fields of present Triton that the oldest client we test with does not know."""


def test_generated_files_are_up_to_date():
    pytest.importorskip("grpc_tools", reason="grpcio-tools is a development dependency")
    from scripts.generate_protos import ROOT, generate

    for name, text in generate().items():
        present = (ROOT / "penstock" / "proto" / name).read_text()
        if name.endswith(".pyi"):  # their layout depends on the protoc version
            assert _names(text) == _names(present)
        else:
            assert text == present


def _names(text):
    return {
        node.target.id if isinstance(node, ast.AnnAssign) else node.name
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.AnnAssign | ast.ClassDef)
    }


def _messages(descriptors):
    for message in descriptors:
        yield message
        yield from _messages(message.nested_types)


OURS = [
    message
    for module in (model_config_pb2, grpc_service_pb2)
    for message in _messages(module.DESCRIPTOR.message_types_by_name.values())
]


def _fields(descriptor):
    proto = DescriptorProto()
    descriptor.CopyToProto(proto)
    return {field.name: (field.number, field.type, field.label, field.type_name) for field in proto.field}


@pytest.fixture(scope="module")
def theirs():
    """NVIDIA's messages by name; both sets live in one process."""
    pytest.importorskip("tritonclient.grpc")
    from tritonclient.grpc import model_config_pb2 as config
    from tritonclient.grpc import service_pb2 as service

    files = (config.DESCRIPTOR, service.DESCRIPTOR)
    return {m.full_name: m for file in files for m in _messages(file.message_types_by_name.values())}


@pytest.mark.parametrize("ours", OURS, ids=lambda message: message.full_name)
def test_fields_are_tritons(ours, theirs):
    """Names, numbers, types and repetition; nothing of Triton's is left out."""
    if ours.full_name not in theirs:
        assert ours.full_name.startswith(
            (
                "inference.ModelMetrics",
                "inference.InferResponseStatistics",
                "inference.ModelStatistics.Response",
            )
        )
        return
    mine = {name: field for name, field in _fields(ours).items() if name not in NEWER}
    assert _fields(theirs[ours.full_name]) == mine


def test_rpcs_are_tritons(theirs):
    from tritonclient.grpc import service_pb2

    known = service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods_by_name
    for method in grpc_service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods:
        assert known[method.name].full_name == method.full_name
        assert known[method.name].input_type.full_name == method.input_type.full_name
        assert known[method.name].output_type.full_name == method.output_type.full_name


def test_enums_are_tritons(theirs):
    from tritonclient.grpc import model_config_pb2 as config

    assert dict(config.DataType.items()) == dict(model_config_pb2.DataType.items())
    assert dict(config.ModelInstanceGroup.Kind.items()) == dict(
        model_config_pb2.ModelInstanceGroup.Kind.items()
    )
    assert model_config_pb2.TYPE_BF16 == config.TYPE_BF16


def test_bytes_are_the_same_from_both_pools(theirs):
    from tritonclient.grpc import service_pb2

    values = {"model_name": "m", "id": "7", "raw_input_contents": [b"abc"]}
    assert service_pb2.ModelInferRequest is not grpc_service_pb2.ModelInferRequest
    assert (
        service_pb2.ModelInferRequest(**values).SerializeToString()
        == grpc_service_pb2.ModelInferRequest(**values).SerializeToString()
    )
