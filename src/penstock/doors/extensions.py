"""What server metadata says of us, whatever the door: the name and the protocol extensions offered."""

NAME = "penstock"

EXTENSIONS = (
    "binary_tensor_data",
    "model_configuration",
    "model_repository",
    "parameters",
    "schedule_policy",
    "statistics",
)
"""Triton's names of the extensions that are answered."""
