"""Trains a small digit classifier for the image. Runs once, in the image's own file system."""

import numpy as np
import tensorflow as tf

SIDE, CLASSES, SAMPLES = 16, 10, 512

tf.keras.utils.set_random_seed(7)
generator = np.random.default_rng(7)
# Each class is a noisy stripe pattern of its own: learnable in a second, and no data set has to be downloaded.
labels = generator.integers(0, CLASSES, SAMPLES)
stripes = np.sin(np.arange(SIDE)[None, None, :] * (labels[:, None, None] + 1) / 3.0)
images = (stripes + generator.normal(0.0, 0.2, (SAMPLES, SIDE, SIDE)))[..., None].astype("float32")

model = tf.keras.Sequential(
    [
        tf.keras.Input((SIDE, SIDE, 1)),
        tf.keras.layers.Conv2D(16, 3, activation="relu"),
        tf.keras.layers.Flatten(),
        tf.keras.layers.Dense(256, activation="relu"),
        tf.keras.layers.Dense(CLASSES, activation="softmax"),
    ]
)
model.compile("adam", "sparse_categorical_crossentropy")
model.fit(images, labels, epochs=3, verbose=0)
model.save("/app/model.keras")
np.save("/app/sample.npy", images[:1])
