"""One request in, one answer out."""

import json

from inference.features import matrix_of
from inference.model import Model
from inference.schema import instances_of


class Handler:
    """Holds what is loaded once and used for every request."""

    def __init__(self, config, model):
        self._config = config
        self._model = model

    @classmethod
    def from_folder(cls, folder):
        """Loads configuration and model from the application's folder."""
        config = json.loads((folder / "config.json").read_text())
        return cls(config, Model(folder / config["model"]))

    def handle(self, request):
        """Scores every instance and compares it with the threshold."""
        instances = instances_of(request, self._config["instances_max"])
        scores = self._model.scores(matrix_of(instances, self._model.features))
        threshold = self._config["threshold"]
        return {"predictions": [{"score": round(float(s), 6), "benign": bool(s >= threshold)} for s in scores]}
