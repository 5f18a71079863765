"""Entry point: loads the model, scores the sample request, and says that it is ready."""

import json
import pathlib

from inference.handler import Handler

FOLDER = pathlib.Path(__file__).parent


def main():
    handler = Handler.from_folder(FOLDER)
    request = json.loads((FOLDER / "sample.json").read_text())
    print(json.dumps(handler.handle(request)))
    print("ready")


if __name__ == "__main__":
    main()
