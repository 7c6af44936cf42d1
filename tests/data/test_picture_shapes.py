"""Pictures as arrays of one shape: size, aspect, channels."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.made_pictures import GREY, RANDOM, folder, greys, prepared, values


def wide() -> np.ndarray:
    """12 high and 36 wide: light, with a dark middle with a grey line, a black edge."""
    x = np.full((12, 36), 200, np.uint8)
    x[:, 12:24], x[:, 18], x[:, 0] = 40, 100, 0
    return x


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("resize", ["fit", "crop", "stretch"])
def test_a_picture_that_is_no_square_becomes_one(
    tmp_path: Path, resize: str, deep: bool, turned: bool
) -> None:
    x = wide().T if turned else wide()
    picture = Image.fromarray(x.astype(np.uint16) * 257 if deep else x)
    source = folder(tmp_path / "f", [picture] * 10)
    greys(tmp_path / "more").rename(source / "c")
    dataset = prepared(source, image_size_pixels=12, resize=resize)
    found = values(dataset)[0, ..., 0].T if turned else values(dataset)[0, ..., 0]
    assert any(f"(resize={resize})" in sentence for sentence in dataset.said)
    if resize == "fit":  # 4 rows of it, in the middle of what most of its border is
        assert np.abs(found[[0, 1, 2, 3, 8, 9, 10, 11]] - 200 / 255).max() < 1e-5
        assert found[4:8, 5:7].max() < 0.3 and found[5, 0] < 200 / 255
    elif resize == "crop":
        assert found.max() < 0.5
    else:
        assert (np.ptp(found, axis=0) < 1e-5).all() and found[0, 0] < found[0, 1]


@pytest.mark.parametrize(("sides", "size"), [((9, 11, 10), 10), ((300, 200, 90), 64), ((5, 6), 5)])
def test_a_side_that_nobody_asks_for_is_the_median_of_trains(tmp_path, sides, size) -> None:
    pictures = [Image.fromarray(RANDOM.integers(0, 255, (s, s), np.uint8)) for s in sides]
    folder(tmp_path / "f" / "train", pictures * 2)
    folder(tmp_path / "f" / "test", [Image.fromarray(np.kron(x, x)) for x in GREY])
    dataset = prepared(tmp_path / "f")
    assert dataset.meta.input_shape == (size, size, 1)
    assert dataset.meta.reading["image_size_pixels"] == size


def coloured(count: int, size: int = 12) -> list[Image.Image]:
    """Red or green on noise, both of the same grey: two classes that only colours tell apart."""
    found = []
    for k in range(count):
        light = RANDOM.integers(60, 130, (size, size))
        x = np.stack([light] * 3, -1)
        x[3:9, 3:9] = [(170, 51, 51), (10, 132, 51)][k * 2 // count]
        found.append(Image.fromarray(x.astype(np.uint8)))
    return found


def test_classes_that_differ_in_colour_keep_their_colours(tmp_path: Path) -> None:
    source = folder(tmp_path / "f", coloured(10))
    dataset = prepared(source, image_size_pixels=12)
    assert dataset.meta.input_shape == (12, 12, 3) and dataset.meta.reading["channels"] == "3"
    x, y = values(dataset), dataset.splits["train"].targets()
    assert ((x[:, 5, 5, 0] > x[:, 5, 5, 1]) == (y == 0)).all()
    assert any("in colour (channels=3)" in sentence for sentence in dataset.said)
    grey = prepared(source, image_size_pixels=12, channels="1")
    assert grey.meta.input_shape == (12, 12, 1) and grey.folder != dataset.folder
    assert np.ptp(values(grey)[:, 5, 5]) < 2 / 255


@pytest.mark.parametrize(("pixels", "apart", "channels"), [(2, 17, 3), (1, 17, 1), (144, 16, 1)])
def test_colours_are_more_than_one_pixel_in_a_hundred_of_any_picture(
    tmp_path: Path, pixels: int, apart: int, channels: int
) -> None:
    x = np.full((144, 3), 100, np.uint8)
    x[:pixels, 1] += apart
    pictures = [Image.fromarray(each).convert("RGB") for each in GREY]
    source = folder(tmp_path / "f" / "train", [*pictures, Image.fromarray(x.reshape(12, 12, 3))])
    folder(source.parent / "test", pictures + coloured(2))
    dataset = prepared(source.parent)
    assert dataset.meta.input_shape[2] == channels
    assert values(dataset, "test").shape[-1] == channels


def test_grey_pictures_have_three_channels_where_that_is_asked(tmp_path: Path) -> None:
    x = values(prepared(greys(tmp_path / "f"), channels="3"))
    assert x.shape[-1] == 3 and (x[..., :1] == x).all()
    deep = [Image.fromarray(each.astype(np.uint16) * 257) for each in GREY]
    found = values(prepared(folder(tmp_path / "deep", deep), channels="3"))
    assert np.abs(found - x).max() <= 1 / 255
