"""Pictures as people have them: what their files say is what a model gets, or it is refused."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.made_pictures import GREY, folder, greys, prepared, values
from tally.data import registry
from tally.data.sources import images
from tally.errors import DataError, SpecError
from tally.spec import validate

CASES = Path(__file__).with_name("cases") / "pictures"


def colours_of_16_bits(x: np.ndarray) -> bytes:
    """A PNG, (height, width, 3) of uint16, as Pillow does not write it."""
    height, width, _ = x.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in x)

    def part(name: bytes, data: bytes) -> bytes:
        checked = name + data
        return struct.pack(">I", len(data)) + checked + struct.pack(">I", zlib.crc32(checked))

    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    parts = part(b"IHDR", header) + part(b"IDAT", zlib.compress(rows)) + part(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def deep_colours(path: Path, times: int) -> Path:
    greys(path)
    for k, file in enumerate(sorted(path.rglob("*.png"))):
        file.write_bytes(colours_of_16_bits(np.stack([GREY[k].astype(np.uint16) * times] * 3, -1)))
    return path


def along(x: np.ndarray, axis: int) -> np.ndarray:
    """How much of each picture changes along an axis."""
    return np.abs(np.diff(x[..., 0], axis=axis)).mean(axis=(1, 2))


@pytest.mark.parametrize("case", ["png16", "ink-on-nothing"])
def test_lines_are_lines_in_16_bits_and_as_ink_on_nothing(case: str) -> None:
    dataset = prepared(CASES / case)
    assert dataset.meta.class_names == ("horizontal", "vertical")
    for split in ("train", "test"):
        x, y = values(dataset, split), dataset.splits[split].targets()
        assert 0 <= x.min() < 0.2 and 0.8 < x.max() <= 1
        assert ((along(x, 2) > along(x, 1)) == (y == 1)).all()
    said = "transparent pictures are laid on white" if case != "png16" else "from 0 to 65,535"
    assert any(said in sentence for sentence in dataset.said)


@pytest.mark.parametrize(
    ("ending", "picture"),
    [
        ("png", lambda x: Image.fromarray(x.astype(np.uint16) * 257)),
        ("tif", lambda x: Image.fromarray(x.astype(np.uint16) * 257)),
        ("pgm", lambda x: Image.fromarray(x.astype(np.int32) * 257)),
        ("png", lambda x: Image.merge("LA", (Image.fromarray(x), Image.new("L", (12, 12), 255)))),
        ("png", lambda x: Image.fromarray(x).convert("RGB").quantize(256)),
        ("tif", lambda x: Image.fromarray(np.stack([0 * x, 0 * x, 0 * x, 255 - x], -1), "CMYK")),
        ("tif", lambda x: Image.fromarray(x).convert("RGBA")),
    ],
    ids=["png 16", "tiff 16", "pgm 16", "grey and alpha", "palette", "cmyk", "opaque"],
)
def test_a_picture_is_the_same_in_whatever_way_it_is_kept(tmp_path, ending, picture) -> None:
    expected = values(prepared(greys(tmp_path / "plain")))
    dataset = prepared(folder(tmp_path / "other", [picture(each) for each in GREY], ending))
    assert np.abs(values(dataset) - expected).max() <= 1 / 255


def test_white_is_zero_where_a_tiff_says_so(tmp_path: Path) -> None:
    pictures = [Image.fromarray(65_535 - each.astype(np.uint16) * 257) for each in GREY]
    source = folder(tmp_path / "f", pictures, "tif", tiffinfo={262: 0})
    expected = values(prepared(greys(tmp_path / "plain")))
    assert np.abs(values(prepared(source)) - expected).max() <= 1 / 255


def test_colours_of_16_bits_are_read_by_their_upper_8_and_that_is_said(tmp_path: Path) -> None:
    dataset = prepared(deep_colours(tmp_path / "deep", 257))
    assert np.abs(values(dataset) - values(prepared(greys(tmp_path / "plain")))).max() <= 1 / 255
    assert "colours of 16 bits are read by their upper 8 bits" in dataset.said


def test_one_bit_is_black_and_white(tmp_path: Path) -> None:
    pictures = [Image.fromarray(each > 128) for each in GREY]
    dataset = prepared(folder(tmp_path / "bits", pictures), image_size_pixels=12)
    found = np.concatenate([values(dataset, split) for split in ("train", "test")])[..., 0]
    assert sorted(x.tobytes() for x in found) == sorted(
        (x > 128).astype("f4").tobytes() for x in GREY
    )


@pytest.mark.parametrize("ending", ["png", "jpg", "tif"])
def test_a_camera_held_upright_gives_upright_pictures(tmp_path: Path, ending: str) -> None:
    size = {"image_size_pixels": 12, "resize": "stretch"}
    plain = [Image.fromarray(np.kron(each[:3, :4], np.ones((4, 3), np.uint8))) for each in GREY]
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    turned = [each.transpose(Image.Transpose.ROTATE_90) for each in plain]
    how = {"exif": exif} | ({"quality": 95} if ending == "jpg" else {})
    found = values(prepared(folder(tmp_path / "turned", turned, ending, **how), **size))
    expected = values(prepared(folder(tmp_path / "plain", plain), **size))
    assert np.abs(found - expected).mean() < 0.03


def test_a_16_bit_picture_is_turned_too(tmp_path: Path) -> None:
    deep = [Image.fromarray(each.astype(np.uint16) * 257) for each in GREY]
    exif = Image.Exif()
    exif[0x0112] = 3
    upside_down = [each.transpose(Image.Transpose.ROTATE_180) for each in deep]
    found = values(prepared(folder(tmp_path / "turned", upside_down, exif=exif)))
    assert (found == values(prepared(folder(tmp_path / "plain", deep)))).all()


def test_a_range_uses_12_of_16_bits_and_a_dark_one_is_said(tmp_path: Path) -> None:
    dark = [Image.fromarray(each.astype(np.uint16) * 16) for each in GREY]
    source = folder(tmp_path / "dark", dark)
    expected = values(prepared(greys(tmp_path / "plain")))
    assert any("almost black; range=0.." in each for each in prepared(source).said)
    dataset = prepared(source, range="0..4080")
    assert not any("almost black" in each for each in dataset.said)
    assert np.abs(values(dataset) - expected).max() < 1 / 255
    assert dataset.meta.reading["range"] == "0..4080"


def test_decimal_numbers_go_by_train_never_picture_by_picture(tmp_path: Path) -> None:
    decimal = [Image.fromarray(each.astype(np.float32) * (k + 1)) for k, each in enumerate(GREY)]
    folder(tmp_path / "f" / "train", decimal[:8], "tif")
    folder(
        tmp_path / "f" / "test", [Image.fromarray(np.float32(each) * 20) for each in GREY], "tif"
    )
    dataset = prepared(tmp_path / "f", image_size_pixels=12)
    x = np.stack([GREY[k].astype(np.float32) * (k + 1) for k in range(8)])
    expected = (x - x.min()) / (x.max() - x.min())
    assert np.abs(values(dataset)[..., 0] - expected).max() < 1e-6
    low, high = map(float, dataset.meta.reading["range"].split(".."))
    assert (low, high) == (x.min(), x.max())
    assert values(dataset, "test").max() == 1


def white_ink(x: np.ndarray) -> Image.Image:
    return Image.merge("LA", (Image.new("L", (12, 12), 255), Image.fromarray(x)))


def with_type(path: Path, change) -> Path:
    """Greys of which one is of another type."""
    greys(path)
    change(Image.fromarray(GREY[0])).save(path / "a" / "00.tif")
    (path / "a" / "00.png").unlink()
    return path


REFUSED = {
    "decimals among whole numbers, with a range for them": (
        lambda f: with_type(f, lambda x: x.convert("F")),
        {},
        "expected pixels of decimal numbers, as in train, got whole numbers",
    ),
    "negative": (
        lambda f: with_type(f, lambda x: Image.fromarray(np.asarray(x).astype(np.int32) - 99)),
        {},
        "expected a picture, got 'the value -.* of a picture without a range'",
    ),
    "not finite": (
        lambda f: with_type(f, lambda x: Image.fromarray(np.full((9, 9), np.nan, np.float32))),
        {},
        "00.tif: expected a picture, got 'NaN or infinity'",
    ),
    "white ink on nothing": (
        lambda f: folder(f, [white_ink(each) for each in GREY]),
        {},
        "class a to have more than one colour.*background=black",
    ),
    "16-bit colours that are in the lower 8 bits": (
        lambda f: deep_colours(f, 1),
        {},
        "class a to have more than one colour",
    ),
    "16-bit colours with a range": (
        lambda f: deep_colours(f, 1),
        {"range": "0..255"},
        "expected no colours of 16 bits beside range=0..255",
    ),
    "decimals in the test split only": (
        lambda f: folder(
            greys(f / "train").parent / "test", [Image.new("F", (9, 9))] * 2, "tif"
        ).parent,
        {},
        "expected pixels of whole numbers, or range=LOW..HIGH.* got decimal numbers",
    ),
    "a range that leaves nothing": (
        greys, {"range": "500..600"}, "class a to have more than one colour"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_kept_is_refused_in_one_line(tmp_path: Path, tally_home, name) -> None:
    make, settings, message = REFUSED[name]
    with pytest.raises(DataError, match=message) as caught:
        prepared(make(tmp_path / "f"), **settings)
    assert "\n" not in str(caught.value) and ";" in str(caught.value)
    assert not list(tally_home.glob("datasets/*"))


def test_white_ink_on_nothing_is_read_on_black(tmp_path: Path) -> None:
    ink = [white_ink(each) for each in GREY]
    dataset = prepared(folder(tmp_path / "f", ink), background="black")
    expected = values(prepared(greys(tmp_path / "plain")))
    assert np.abs(values(dataset) - expected).max() <= 1 / 255


def test_a_class_that_is_blank_in_its_files_is_said(tmp_path: Path) -> None:
    blank = [Image.new("L", (12, 12), 9 * k) for k in range(5)]
    dataset = prepared(folder(tmp_path / "f", blank + [Image.fromarray(x) for x in GREY[:5]]))
    assert "each picture of class a is of one colour in its file" in dataset.said
    assert not any("class b" in sentence for sentence in dataset.said)


def test_what_an_older_version_made_is_for_runs_that_began_with_it_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = greys(tmp_path / "f")
    with monkeypatch.context() as then:
        then.setattr(images, "VERSION", images.VERSION - 1)
        older = prepared(source)
        assert registry.made_before(older.fingerprint) is None
    newer = prepared(source)
    assert newer.fingerprint != older.fingerprint
    assert registry.made_before(older.fingerprint) == older.folder
    assert registry.made_before(newer.fingerprint) is None
    assert registry.made_before("0" * 64) is None


def test_a_class_of_one_picture_is_said(tmp_path: Path) -> None:
    source = greys(tmp_path / "f")
    for file in sorted((source / "b").iterdir())[1:]:
        file.unlink()
    assert "class b has one example" in prepared(source).said


def test_frames_that_are_not_read_are_said(tmp_path: Path) -> None:
    source = greys(tmp_path / "f")
    frames = [Image.fromarray(each) for each in GREY[:3]]
    frames[0].save(source / "a" / "film.gif", save_all=True, append_images=frames[1:])
    said = prepared(source).said
    assert "of 1 pictures of class a that have several frames the first is read" in said


@pytest.mark.parametrize("given", ["5", "9..1", "a..b", "1..1", "0..inf", "1..2..3"])
def test_a_range_that_is_none_is_refused_at_once(given: str) -> None:
    with pytest.raises(SpecError, match=r"range must be LOW\.\.HIGH"):
        validate("here", {"range": given})
