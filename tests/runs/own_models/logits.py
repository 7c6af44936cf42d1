"""Ends in logits, as TensorFlow's beginner tutorial does; not compiled."""


def dataset():
    """Four groups of points, 100 each, well apart."""
    import numpy as np

    rng = np.random.default_rng(1)
    y = np.arange(400) % 4
    centre = np.array([[2, 0], [-2, 0], [0, 2], [0, -2]], "float32")
    x = (centre[y] + 0.4 * rng.normal(size=(400, 2))).astype("float32")
    t = np.arange(400) // 4 % 5 == 0
    return (x[~t], y[~t]), (x[t], y[t])


def model():
    """One hidden layer."""
    import keras

    layers = keras.layers
    return keras.Sequential(
        [keras.Input((2,)), layers.Dense(16, activation="relu"), layers.Dense(4)]
    )
