"""A network of one layer as a TensorRT engine, for the GPU that is here."""

from pathlib import Path

import pytest

SETTINGS = "[batching]\nmax_rows = 8\n"


def write(folder: Path) -> Path:
    """``x`` FP32 [-1, 2] → ``y`` FP32 [-1, 2], for 1 to 8 rows; skips where there is no GPU."""
    import tensorrt as trt

    logger = trt.Logger(trt.Logger.INTERNAL_ERROR)
    try:
        builder = trt.Builder(logger)
    except TypeError:  # it made none
        pytest.skip("TensorRT finds no GPU")
    network = builder.create_network(0)
    x = network.add_input("x", trt.float32, (-1, 2))
    y = network.add_activation(x, trt.ActivationType.RELU).get_output(0)
    y.name = "y"
    network.mark_output(y)
    profile = builder.create_optimization_profile()
    profile.set_shape("x", (1, 2), (4, 2), (8, 2))
    config = builder.create_builder_config()
    config.add_optimization_profile(profile)
    path = folder / "1" / "model.plan"
    path.parent.mkdir(parents=True)
    path.write_bytes(builder.build_serialized_network(network, config))
    (folder / "model.toml").write_text(SETTINGS)
    return path
