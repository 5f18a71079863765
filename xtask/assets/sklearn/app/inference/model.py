"""The trained model and the names of its features."""

import joblib


class Model:
    """Scores rows of numbers."""

    def __init__(self, path):
        stored = joblib.load(path)
        self.features = stored["features"]
        self._classifier = stored["model"]

    def scores(self, rows):
        """The probability of a benign sample, for each row."""
        return self._classifier.predict_proba(rows)[:, 1]
