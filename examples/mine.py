"""A pipeline of one's own, with `make submit PIPELINE=examples/mine.py` and its epochs in SET.

model() returns a Keras model; compile it to choose the optimiser and the loss. dataset() returns
((x_train, y_train), (x_test, y_test)), or says where the data is: a path, or gs://….
"""


def model():
    """Two dense layers with dropout on four measurements."""
    import keras

    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(32, activation="relu"),
            layers.Dropout(0.1),
            layers.Dense(3, activation="softmax"),
        ]
    )


def dataset():
    """Fisher's irises: 120 to train on, 30 to test."""
    import numpy as np
    from sklearn.datasets import load_iris
    from sklearn.model_selection import train_test_split

    x, y = load_iris(return_X_y=True)
    x = ((x - x.mean(axis=0)) / x.std(axis=0)).astype(np.float32)
    x_train, x_test, y_train, y_test = train_test_split(
        x, y, test_size=30, random_state=0, stratify=y
    )
    return (x_train, y_train), (x_test, y_test)
