# mypy: ignore-errors
"""MLServer's custom runtime for one ONNX model."""

from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse
from peer_session import open_session, run


class OnnxRuntime(MLModel):
    """Decodes with MLServer's own numpy codec, as its documentation shows for custom runtimes."""

    async def load(self) -> bool:
        self._session = open_session()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        x = NumpyCodec.decode_input(payload.inputs[0])
        y = run(self._session, x)
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("y", y)])
