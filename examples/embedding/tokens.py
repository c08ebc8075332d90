"""Texts to token ids: a whole batch at once, padded to its longest text; becomes ``tokens/1/model.py``."""

import os
from typing import Annotated

import numpy as np

from penstock import BYTES, INT64, Context
from penstock.core.errors import InvalidRequest

PAD_TO = 16
"""So that texts of much the same length have one shape, and requests meet in one batch of the encoder."""


class Tokens:
    def setup(self, context: Context) -> None:
        os.environ.setdefault("RAYON_NUM_THREADS", str(context.threads))  # read when the library starts
        from tokenizers import Tokenizer

        self.tokenizer = Tokenizer.from_file(str(context.folder / "tokenizer.json"))
        self.tokenizer.enable_truncation(int(context.parameters.get("max_tokens", "256")))
        self.tokenizer.enable_padding(pad_to_multiple_of=PAD_TO)

    def predict(
        self, text: Annotated[BYTES, -1]
    ) -> tuple[Annotated[INT64, "ids", -1, -1], Annotated[INT64, "mask", -1, -1]]:
        try:
            found = self.tokenizer.encode_batch([each.decode() for each in text])
        except UnicodeDecodeError:
            raise InvalidRequest("input 'text' has bytes that are not UTF-8") from None
        return np.array([each.ids for each in found]), np.array([each.attention_mask for each in found])
