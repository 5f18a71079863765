"""From named values to the row of numbers that the model was trained on."""

import math

import numpy as np

# Values beyond this are typing errors rather than cells; the largest area in the training data is 4254.
VALUE_MAX = 10_000.0


def row_of(instance, names):
    """One row, in the order of the model's features. Absent and impossible values become zero."""
    return np.array([clean(instance.get(name)) for name in names], dtype=np.float64)


def clean(value):
    """A finite number between zero and VALUE_MAX."""
    if not isinstance(value, (int, float)) or not math.isfinite(value):
        return 0.0
    return min(max(float(value), 0.0), VALUE_MAX)


def matrix_of(instances, names):
    """One row for each instance."""
    return np.stack([row_of(instance, names) for instance in instances])
