"""What models of text are made of."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from tally.data.format import Meta
from tally.models import registry
from tally.models.parts import encoder, logmel, ngrams

VOCABULARY = ("", "?", *"abcdefgh")
TEXT = Meta("t", "tokens", (9,), "int32", 1, ("a", "b", "c"), VOCABULARY)


def test_attention_sees_nothing_of_what_does_not_belong_to_the_text() -> None:
    import keras

    x, mask = keras.Input((7, 8)), keras.Input((7, 1))
    model = keras.Model([x, mask], encoder.block(x, mask, heads=2, dropout=0.0))
    draw = np.random.default_rng(0)
    given = draw.normal(size=(5, 7, 8)).astype(np.float32)
    real = (np.arange(7) >= draw.integers(1, 7, (5, 1))).astype(np.float32)[..., None]
    other = np.where(real > 0, given, draw.normal(size=given.shape)).astype(np.float32)
    one, two = (np.asarray(model([each, real])) for each in (given, other))
    np.testing.assert_allclose(one * real, two * real, atol=1e-5)
    assert abs(one - two).max() > 0.1  # where it does not belong it did change


def test_attention_is_what_keras_own_layer_computes() -> None:
    import keras

    x, mask = keras.Input((7, 8)), keras.Input((7, 1))
    model = keras.Model([x, mask], encoder.attention(x, mask, heads=2))
    theirs = keras.layers.MultiHeadAttention(2, 4)
    draw = np.random.default_rng(1)
    given = draw.normal(size=(3, 7, 8)).astype(np.float32)
    real = (np.arange(7) >= np.array([[0], [2], [6]])).astype(np.float32)[..., None]
    theirs.build(given.shape, given.shape)
    dense = [layer for layer in model.layers if isinstance(layer, keras.layers.Dense)]
    names = (theirs._query_dense, theirs._key_dense, theirs._value_dense, theirs._output_dense)
    # in the graph's order projections may stand otherwise: they are told apart by what they feed
    output = next(d for d in dense if d.output is model.output)
    ours = sorted(dense, key=lambda d: int("0" + d.name.rpartition("_")[2]))
    for layer, other in zip([*(d for d in ours if d is not output), output], names, strict=True):
        kernel, bias = (w.numpy() for w in layer.weights)
        shapes = [w.shape for w in other.weights]
        other.set_weights([kernel.reshape(shapes[0]), bias.reshape(shapes[1])])
    found = np.asarray(model([given, real]))
    wanted = np.asarray(theirs(given, given, attention_mask=real[:, None, :, 0] > 0))
    np.testing.assert_allclose(found, wanted, atol=1e-5)


@pytest.mark.parametrize("padded", ["in front", "behind"])
def test_ngrams_count_the_same_wherever_a_text_stands(padded: str) -> None:
    import keras

    def wide(length: int) -> keras.Model:
        inputs = keras.Input((length,), dtype="int32")
        return keras.Model(inputs, ngrams.strongest(*ngrams.ended(inputs), len(VOCABULARY), 8))

    short, long = wide(6), wide(11)
    long.set_weights(short.get_weights())
    text = np.array([[2, 3, 4, 2, 3, 9], [0, 0, 0, 5, 5, 1]], np.int32)
    widths = ((0, 0), (5, 0) if padded == "in front" else (0, 5))
    given = text[:1] if padded == "behind" else text
    np.testing.assert_allclose(short(given), long(np.pad(given, widths)), rtol=1e-6)
    other = text[:, ::-1].copy() if padded == "behind" else np.roll(text, 1, axis=1)
    assert abs(np.asarray(short(other)) - np.asarray(short(text))).max() > 1e-3


def test_ngrams_of_ordinary_texts_rarely_share_a_place_in_the_table() -> None:
    draw = np.random.default_rng(0)
    grams = {tuple(row) for row in draw.integers(2, 60, (2000, 3)).tolist()}
    codes: dict[int, int] = {}
    for first, second, third in grams:
        code = third
        for before in (second, first):
            code = (code * ngrams._MULTIPLIER + before) % ngrams._MODULUS
        codes[code % ngrams.BUCKETS] = codes.get(code % ngrams.BUCKETS, 0) + 1
    by_chance = ngrams.BUCKETS * (1 - (1 - 1 / ngrams.BUCKETS) ** len(grams))
    assert len(codes) > 0.97 * by_chance


@pytest.mark.parametrize("name", ["transformer", "text_lstm"])
def test_a_saved_model_opens_with_keras_alone(name: str, tmp_path: Path) -> None:
    import keras

    model = registry.build(name, TEXT)
    model.save(tmp_path / "model.keras")
    opened = keras.models.load_model(tmp_path / "model.keras")
    tokens = np.random.default_rng(0).integers(0, len(VOCABULARY), (4, 9)).astype(np.int32)
    np.testing.assert_allclose(model(tokens), opened(tokens), atol=1e-6)


def test_bands_of_sound_are_what_numpy_computes() -> None:
    draw = np.random.default_rng(0)
    samples = draw.normal(size=(3, logmel.SAMPLES)).astype(np.float32) * [[0.5], [0.05], [0.005]]
    around = np.pad(samples, ((0, 0), (logmel.LENGTH // 2, logmel.LENGTH // 2)), "reflect")
    frames = np.lib.stride_tricks.sliding_window_view(around, logmel.LENGTH, axis=1)
    frames = frames[:, :: logmel.HOP]
    spare = (logmel.LENGTH - logmel.WINDOW) // 2
    window = np.pad(np.hanning(logmel.WINDOW + 1)[:-1], spare)
    power = abs(np.fft.rfft(frames * window)) ** 2
    at = logmel.edges()
    assert (np.diff(at) >= 2).all() and len(at) == logmel.BANDS + 1
    wanted = np.stack(
        # a band begins after its lower edge, whose bin belongs to the one below
        [power[..., low + 1 : high + 1].mean(axis=-1) for low, high in itertools.pairwise(at)],
        axis=-1,
    )
    assert wanted.shape == (3, logmel.FRAMES, logmel.BANDS)
    found = np.asarray(logmel.energy(samples.astype(np.float32)))
    np.testing.assert_allclose(found, wanted, rtol=2e-2, atol=1e-6 * wanted.max())


def test_how_near_a_speaker_is_changes_nothing() -> None:
    draw = np.random.default_rng(1)
    samples = draw.normal(size=(2, logmel.SAMPLES)).astype(np.float32) * 0.3
    near, far = (np.asarray(logmel.features(samples * loud)) for loud in (1.0, 0.1))
    np.testing.assert_allclose(near, far, atol=2e-2)
