"""Regression: `make submit PIPELINE=examples/diabetes.py SET="epochs=150 learning_rate=0.003"`.

TASK says what is learned of dataset()'s numbers: without it they would have to be classes.
"""

TASK = "regression"


def model():
    """One hidden layer on ten measurements; the output is the standardised number."""
    import keras

    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((10,)),
            layers.Dense(16, activation="relu", kernel_regularizer="l2"),
            layers.Dense(1),
        ]
    )


def dataset():
    """How a diabetes went on in a year, of 442 patients: 342 to train on, 100 to test."""
    import numpy as np
    from sklearn.datasets import load_diabetes
    from sklearn.model_selection import train_test_split

    x, y = load_diabetes(return_X_y=True)
    x = ((x - x.mean(axis=0)) / x.std(axis=0)).astype(np.float32)
    x_train, x_test, y_train, y_test = train_test_split(
        x, y.astype(np.float32), test_size=100, random_state=0
    )
    return (x_train, y_train), (x_test, y_test)
