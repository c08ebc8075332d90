"""The private descriptor pool in which our generated messages live.

NVIDIA's and KServe's clients register the same ``inference.*`` names in protobuf's default pool,
where a second registration is refused; in a pool of our own they may share our process.
Generated files go through this public API rather than protoc's own Python output, which would
demand a protobuf runtime at least as new as the generator.
"""

from typing import Any

from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper
from google.protobuf.message_factory import GetMessageClass

POOL = DescriptorPool()


def build(serialized: bytes, into: dict[str, Any]) -> None:
    """Register one serialized FileDescriptorProto and put its top-level names into a namespace."""
    added = POOL.AddSerializedFile(serialized)
    # The pure-Python pool of older protobuf returns a proto, so look the descriptor up by name.
    file = POOL.FindFileByName(added.name)
    into["DESCRIPTOR"] = file
    for name, message in file.message_types_by_name.items():
        into[name] = GetMessageClass(message)
    for name, enum in file.enum_types_by_name.items():
        into[name] = EnumTypeWrapper(enum)
        into.update({value.name: value.number for value in enum.values})
