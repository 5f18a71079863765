"""Trains the model of the image. Runs once, in the image's own file system, when the corpus is built."""

import joblib
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import GradientBoostingClassifier

data = load_breast_cancer()
model = GradientBoostingClassifier(n_estimators=300, max_depth=4, subsample=0.8, random_state=7)
model.fit(data.data, data.target)
joblib.dump({"model": model, "features": list(data.feature_names)}, "/app/model.joblib")
