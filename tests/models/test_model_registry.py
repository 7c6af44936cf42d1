"""Models by name, packaged or the user's own."""

import subprocess
import sys
from pathlib import Path

import pytest

from helpers.tasks.made import PICTURES as SMALL
from helpers.tasks.made import register
from tally.data.format import Meta
from tally.errors import DataError, SpecError
from tally.models import registry

TEN = tuple("0123456789")
PICTURES = Meta("p", "image", (28, 28, 1), "uint8", 1 / 255, TEN)
TEXT = Meta("t", "tokens", (6,), "int32", 1, TEN[:2], ("", "?", "a"))
SOUND = Meta("w", "audio", (16_000,), "int16", 1 / 32_768, TEN)
FOR_TEXT, FOR_SOUND = ("transformer", "text_lstm"), ("speech_cnn", "speech_lstm")


def test_every_model_file_is_a_model() -> None:
    assert {"cnn", "lstm", *FOR_TEXT, *FOR_SOUND} == set(registry.names())
    for name in registry.names():
        fitting = TEXT if name in FOR_TEXT else SOUND if name in FOR_SOUND else PICTURES
        registry.check(name, fitting)
        model = registry.build(name, fitting)
        assert model.output_shape == (None, len(fitting.class_names))
        assert model.name == name


def test_the_reference_cnn_is_layer_by_layer_the_listing() -> None:
    model = registry.build("cnn", PICTURES)
    found = [(type(layer).__name__, tuple(layer.output.shape[1:])) for layer in model.layers]
    assert found == [
        ("Conv2D", (26, 26, 32)),
        ("MaxPooling2D", (13, 13, 32)),
        ("Flatten", (5408,)),
        ("Dense", (128,)),
        ("Dense", (10,)),
    ]


@pytest.mark.parametrize(
    ("model", "meta"),
    [
        ("cnn", TEXT),
        ("cnn", Meta("tiny", "image", (3, 28, 1), "uint8", 1, TEN)),
        ("lstm", Meta("no words", "tokens", (6,), "int32", 1, TEN)),
        ("lstm", Meta("flat", "image", (28, 28), "uint8", 1, TEN)),
        ("transformer", PICTURES),
        ("transformer", Meta("no words", "tokens", (6,), "int32", 1, TEN)),
        ("text_lstm", PICTURES),
        ("lstm", SOUND),
        ("speech_lstm", TEXT),
        ("speech_cnn", Meta("short", "audio", (8000,), "int16", 1 / 32_768, TEN)),
    ],
    ids=[
        "text for cnn",
        "tiny pictures",
        "no vocabulary",
        "no channels",
        "pictures for a transformer",
        "no vocabulary either",
        "pictures for text",
        "sound for sequences",
        "text for speech",
        "half a second",
    ],
)
def test_a_dataset_that_does_not_fit_is_refused_in_one_line(model: str, meta: Meta) -> None:
    with pytest.raises(DataError) as refused:
        registry.check(model, meta)
    line = str(refused.value)
    assert "\n" not in line
    assert "expected" in line
    assert f"got {meta.kind} of shape {meta.input_shape}" in line


def test_an_unknown_model_names_the_nearest() -> None:
    with pytest.raises(SpecError, match="did you mean lstm"):
        registry.check("lstn", PICTURES)


def test_padding_after_a_text_changes_nothing() -> None:
    import numpy as np

    longer = Meta("t", "tokens", (9,), "int32", 1, TEN[:2], ("", "?", "a"))
    short, long = registry.build("lstm", TEXT), registry.build("lstm", longer)
    long.set_weights(short.get_weights())
    tokens = np.array([[2, 1, 2, 2, 1, 2], [1, 2, 0, 0, 0, 0]], np.int32)
    padded = np.pad(tokens, ((0, 0), (0, 3)))
    np.testing.assert_allclose(short(tokens), long(padded), rtol=1e-5)


USER = """
import keras
class Own(keras.Model):
    def __init__(self, units=10, shape=(784,), outputs="one"):
        super().__init__()
        self.shape, self.outputs_, self.last = shape, outputs, keras.layers.Dense(units)
    def call(self, x):
        if self.outputs_ == "two":
            return {"a": self.last(keras.ops.reshape(x, (-1, 784))), "b": x}
        if self.outputs_ == "nine":
            return self.last(x) + keras.ops.ones((9,))
        return self.last(keras.ops.reshape(x, (-1, *self.shape)))
def several(inputs, outputs):
    found = [keras.Input((28, 28, 1)) for _ in range(inputs)]
    flat = keras.layers.Flatten()(sum(found))
    return keras.Model(found, [keras.layers.Dense(10)(flat) for _ in range(outputs)])
def model():
    return {returned}
"""


@pytest.mark.parametrize(
    ("returned", "error", "words"),
    [
        ("keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Flatten(), "
         "keras.layers.Dense(10)])", None, ""),
        ("keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(10)])", None, ""),
        ("keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Flatten(), "
         "keras.layers.Dense(7)])", DataError, r"\(None, 10\).*got \(None, 7\); end it with Dense"),
        ("keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), "
         "keras.layers.Dense(10)])", DataError, r"change keras.Input to \(28, 28, 1\)"),
        ("keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Flatten(), "
         "keras.layers.Dense(10)] + [keras.layers.Reshape((5, 2))])", DataError,
         r"got \(None, 5, 2\); end it with Dense\(10\)"),
        ("Own()", None, ""),
        ("Own(7)", DataError, r"one output of shape \(None, 10\).*got \(None, 7\)"),
        ("Own(10, (784, 10), 'two')", DataError, "got 2 outputs of shapes"),
        ("Own(10, (784,), 'nine')", SpecError, r"takes examples of shape .* change it"),
        ("several(1, 2)", DataError, "got 2 outputs of shapes .*return one of them"),
        ("several(2, 1)", DataError, "one input .*got 2 inputs of shapes"),
        ("42", SpecError, "got int"),
        ("1 / 0", SpecError, "ZeroDivisionError"),
    ],
    ids=["fits", "not built", "classes", "input", "rank", "subclass", "its classes",
         "its outputs", "its input", "outputs", "inputs", "no model", "raises"],
)  # fmt: skip
def test_a_users_model_is_taken_if_it_fits(
    returned: str, error: type[Exception] | None, words: str, tmp_path: Path
) -> None:
    file = tmp_path / "mine.py"
    file.write_text(USER.replace("{returned}", returned))
    registry.check(str(file), PICTURES)
    import keras

    if error is None:
        model = registry.build(str(file), PICTURES)
        assert model(keras.Input((28, 28, 1))).shape == (None, 10)
        assert model.count_params() == 7850, "all variables are there"
        return
    with pytest.raises(error, match=words) as refused:
        registry.build(str(file), PICTURES)
    assert "\n" not in str(refused.value)


def test_a_users_model_ends_as_its_datasets_task_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(monkeypatch)
    file = tmp_path / "mine.py"
    layers = "[keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(4)]"
    file.write_text(USER.replace("{returned}", f"keras.Sequential({layers})"))
    boxes, heat = (SMALL.learning(task, {"scale": 1.0}) for task in ("boxes", "heat"))
    assert registry.build(str(file), boxes).output_shape == (None, 4)
    with pytest.raises(DataError, match=r"\(None, 32\), for heat of .*end it with Dense\(32\)"):
        registry.build(str(file), heat)


def test_an_answer_with_a_shape_is_what_models_end_in(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    layers = "[keras.Input((16, 16, 1)), keras.layers.Flatten(), keras.layers.Dense(48)]"
    file.write_text(USER.replace("{returned}", f"keras.Sequential({layers})"))
    meta = Meta("places", "image", (16, 16, 1), "uint8", 1 / 255, ending=(48, "linear", [4, 4, 3]))
    assert registry.build("cnn", meta).output_shape == (None, 4, 4, 3)
    with pytest.raises(
        DataError, match=r"\(None, 4, 4, 3\), for .*, got \(None, 48\); end it with"
    ):
        registry.build(str(file), meta)


def test_checking_and_costing_import_no_tensorflow() -> None:
    program = (
        "import sys; from tally.models import registry; from tally.data.format import Meta;"
        "meta = Meta('p', 'image', (28, 28, 1), 'uint8', 1.0, tuple('0123456789'));"
        "registry.check('cnn', meta); registry.cost('lstm', meta);"
        "import tally.learning.worker; from tally.learning.tensorflow import backend, predict;"
        "sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_one_sigmoid_unit_for_two_classes_is_refused_by_name(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    layers = "[keras.Input((28, 28, 1)), keras.layers.Flatten(), keras.layers.Dense(1, 'sigmoid')]"
    file.write_text(USER.replace("{returned}", f"keras.Sequential({layers})"))
    two = Meta("p", "image", (28, 28, 1), "uint8", 1 / 255, ("no", "yes"))
    with pytest.raises(DataError, match=r"one unit for two classes is not supported.*Dense\(2\)"):
        registry.build(str(file), two)
