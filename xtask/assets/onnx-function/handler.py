"""Lambda handler: embeds {"sentences": [...]} with the model of the image's application."""

import json
import sys

sys.path.insert(0, "/app")

from app import FOLDER, Embedder, get_model_path  # noqa: E402

CONFIG = json.loads((FOLDER / "config.json").read_text())
EMBEDDER = Embedder(get_model_path(), CONFIG["tokens_max"])


def handler(event, _context):
    """One row of numbers for each sentence, of length one."""
    rows = EMBEDDER.embed(event["sentences"])
    return {"dimensions": rows.shape[1], "embeddings": rows.tolist()}


if __name__ == "__main__":
    print(handler({"sentences": CONFIG["sentences"]}, None)["dimensions"])
    print("ready")
