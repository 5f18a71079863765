"""Lambda handler: scores {"features": [30 numbers]} with the model of the image's application."""

import json
import pathlib
import sys

APPLICATION = pathlib.Path("/app")
sys.path.insert(0, str(APPLICATION))

from inference.handler import Handler  # noqa: E402
from inference.schema import BadRequest  # noqa: E402

SCORER = Handler.from_folder(APPLICATION)
NAMES = list(json.loads((APPLICATION / "sample.json").read_text())["instances"][0])


def handler(event, _context):
    """Takes the event of a function URL or of API Gateway: the request is the text in `body`."""
    try:
        features = json.loads(event["body"])["features"]
        if len(features) != len(NAMES):
            raise BadRequest(f"`features` must have {len(NAMES)} numbers, got {len(features)}")
        answer = SCORER.handle({"instances": [dict(zip(NAMES, features))]})["predictions"][0]
        return {"statusCode": 200, "body": json.dumps(answer)}
    except (BadRequest, KeyError, TypeError, ValueError) as error:
        return {"statusCode": 400, "body": json.dumps({"error": str(error)})}


if __name__ == "__main__":
    sample = json.loads((APPLICATION / "sample.json").read_text())["instances"][0]
    print(handler({"body": json.dumps({"features": list(sample.values())})}, None)["body"])
    print("ready")
