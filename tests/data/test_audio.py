"""Recordings: of one length, spoken by espeak-ng, and read from WAV files."""

import json
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tally.data import espeak, registry
from tally.data.audio import RATE_HZ, SAMPLES, of_one_length
from tally.data.format import Dataset, open_dataset
from tally.data.packaged import words
from tally.errors import DataError
from tally.spec import Spec

FEW = ["en-us+f1", "en+klatt2", "en-029+klatt", "en-us+m1"]


@given(st.integers(1, 3 * SAMPLES))
def test_a_recording_is_cut_or_padded_around_its_middle(length: int) -> None:
    samples = (np.arange(length) % 30_000 + 1).astype(np.int16)
    found = of_one_length(samples)
    assert found.shape == (SAMPLES,)
    kept = found[found != 0]
    assert len(kept) == min(length, SAMPLES)
    begin = (length - len(kept)) // 2
    assert (kept == samples[begin : begin + len(kept)]).all()
    before = int(np.argmax(found != 0))
    assert abs(before - (SAMPLES - len(kept) - before)) <= 1


def few(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, bytes]]:
    monkeypatch.setattr(words, "voices", lambda: FEW)
    chunks = list(words.load(Spec()).chunks())
    return [
        (chunk.split, int(label), samples.tobytes())
        for chunk in chunks
        for samples, label in zip(chunk.x, chunk.y, strict=True)
    ]


def test_words_come_out_the_same_every_time_and_fill_their_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(words, "TEST_EVERY", 2)  # of three families one
    first = few(monkeypatch)
    assert first == few(monkeypatch)
    assert len(first) == len({samples for *_, samples in first}) == len(FEW) * 12 * 4
    assert [sum(label == k for _, label, _ in first) for k in range(12)] == [16] * 12
    assert {split for split, *_ in first} == {"train", "test"}
    for *_, content in first:
        samples = np.frombuffer(content, np.int16).astype(int)
        assert 3_000 < abs(samples).max() < 32_767
        assert (samples != 0).mean() > 0.9  # noise everywhere


def test_a_lower_rate_keeps_what_it_can_hold() -> None:
    seconds = np.arange(espeak.RATE_HZ) / espeak.RATE_HZ
    low, high = (np.sin(2 * np.pi * hertz * seconds) for hertz in (440, 9_000))
    found = words._resampled(1000 * (low + high))  # 9 kHz is beyond half of the lower rate
    wanted = 1000 * np.sin(2 * np.pi * 440 * np.arange(RATE_HZ) / RATE_HZ)
    assert len(found) == RATE_HZ
    np.testing.assert_allclose(found, wanted, atol=1.0)


def test_no_voice_speaks_in_both_splits() -> None:
    split_of = words.splits(words.voices())
    families: dict[str, set[str]] = {}
    for voice, split in split_of.items():
        families.setdefault(voice.partition("+")[2].rstrip("0123456789"), set()).add(split)
    assert all(len(splits) == 1 for splits in families.values())
    held = sum(split == "test" for split in split_of.values())
    assert 0.1 < held / len(split_of) < 0.3


def test_what_espeak_cannot_say_is_one_line_and_leaves_no_process() -> None:
    before = {child.pid for child in psutil.Process().children()}
    series = [espeak.Said("yes", "en-us", 160, 50), espeak.Said("yes", "nowhere+f99", 160, 50)]
    said = espeak.spoken(series)
    assert len(next(said)) > espeak.RATE_HZ // 10
    with pytest.raises(DataError, match="expected it to say 'yes' as nowhere") as refused:
        next(said)
    assert "\n" not in str(refused.value)
    half = espeak.spoken(series)
    next(half)
    half.close()
    assert {child.pid for child in psutil.Process().children()} <= before


def write_wav(
    path: Path, samples: np.ndarray, rate: int = RATE_HZ, width: int = 2, channels: int = 1
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(samples.astype("<i2").tobytes() if width == 2 else bytes(len(samples)))
    return path


def commands(folder: Path, speakers: int = 20) -> Path:
    """As Speech Commands comes."""
    for label, word in enumerate(("no", "yes")):
        for speaker in range(speakers):
            name = f"{speaker:04x}_nohash_0.wav"
            write_wav(folder / word / name, np.full(8000, 100 * label + speaker + 1))
    write_wav(folder / "_background_noise_" / "white.wav", np.ones(50_000))
    (folder / "LICENSE").write_text("CC BY")
    return folder


def prepared(folder: Path) -> Dataset:
    return open_dataset(registry.prepare(Spec(dataset=str(folder)))[0])


def values(dataset: Dataset, split: str) -> list[int]:
    """What stands in the middle of each recording."""
    part = dataset.splits[split]
    return part.gather(np.arange(len(part)))[0][:, SAMPLES // 2].tolist()


def test_speech_commands_are_split_by_who_speaks(tmp_path: Path, tally_home: Path) -> None:
    dataset = prepared(commands(tmp_path / "speech"))
    assert dataset.meta.class_names == ("no", "yes") and dataset.meta.kind == "audio"
    assert dataset.left_out == {"recordings of _background_noise_, which are no words": 1}
    spoken = {split: {v % 100 for v in values(dataset, split)} for split in ("train", "test")}
    assert spoken["train"] and spoken["test"] and not spoken["train"] & spoken["test"]
    assert sum(len(dataset.splits[split]) for split in ("train", "test")) == 40


def test_a_testing_list_says_what_is_for_the_test_split(tmp_path: Path, tally_home: Path) -> None:
    folder = commands(tmp_path / "speech", speakers=4)
    (folder / "testing_list.txt").write_text("no/0002_nohash_0.wav\nyes/0000_nohash_0.wav\n")
    dataset = prepared(folder)
    assert values(dataset, "test") == [3, 101] and len(dataset.splits["train"]) == 6


def test_several_channels_are_averaged(tmp_path: Path, tally_home: Path) -> None:
    folder = commands(tmp_path / "speech", speakers=10)
    both = np.stack([np.full(SAMPLES, 1000), np.full(SAMPLES, 3000)], axis=1).reshape(-1)
    write_wav(folder / "yes" / "0003_nohash_0.wav", both, channels=2)
    found = prepared(folder)
    assert 2000 in values(found, "train") + values(found, "test")


def bad(name: str, folder: Path) -> None:
    file = folder / "yes" / "0001_nohash_0.wav"
    if name == "rate":
        write_wav(file, np.ones(8000), rate=8_000)
    elif name == "width":
        write_wav(file, np.ones(8000), width=1)
    elif name == "cut":
        file.write_bytes(file.read_bytes()[:20])
    elif name == "no sound":
        write_wav(file, np.ones(0))
    elif name == "text":
        file.write_bytes(b"not a sound")
    elif name == "list":
        (folder / "testing_list.txt").write_text("no/none.wav\n")
    else:
        (folder / "zebra").mkdir()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("rate", "0001_nohash_0.wav: expected 16-bit samples at 16,000 Hz, got 16-bit at 8,000 Hz"),
        ("width", "0001_nohash_0.wav: expected 16-bit samples .*, got 8-bit at 16,000 Hz"),
        ("cut", "0001_nohash_0.wav: expected a WAV file, got"),
        ("no sound", "0001_nohash_0.wav: expected a recording, got one of no length"),
        ("text", "0001_nohash_0.wav: expected a WAV file, got"),
        ("list", "testing_list.txt: expected files that are there, got no/none.wav"),
        ("class", "zebra: expected .wav files, got none"),
    ],
)
def test_a_bad_recording_is_one_line_and_leaves_nothing(
    name: str, words: str, tmp_path: Path, tally_home: Path
) -> None:
    folder = commands(tmp_path / "speech", speakers=3)
    bad(name, folder)
    with pytest.raises(DataError, match=words) as refused:
        prepared(folder)
    assert "\n" not in str(refused.value)
    assert not list((tally_home / "datasets").glob("*/dataset.json"))


def test_espeaks_process_says_nothing_else() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tally.data.espeak"],
        input=json.dumps([["go", "en-us", 160, 50]]).encode(), capture_output=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0
    assert len(done.stdout) == 4 + 2 * int.from_bytes(done.stdout[:4], "little")
