"""A folder of class-named folders of WAV files, as Speech Commands comes."""

import hashlib
import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tally.data.audio import RATE_HZ, Recording, audio_content
from tally.data.content import Array, Content, SplitName
from tally.data.reading import files_below, reading
from tally.data.split import TEST_SHARE, held_out
from tally.errors import DataError
from tally.spec import Spec

VERSION = 1
OPTIONS = ()
LAYOUT = "a folder of class-named folders of .wav files, as Speech Commands"
TEST_LIST = "testing_list.txt"
_NOISE = "_background_noise_"
_SPEAKER = "_nohash_"  # before it stands who speaks


def recognises(path: Path) -> bool:
    """A folder with a .wav file in one of its folders."""
    return path.is_dir() and any(
        file.suffix.lower() == ".wav" and file.parent != path for file in files_below(path)
    )


def load(path: Path, spec: Spec) -> Content:
    """One second of each file, its middle; 16-bit PCM at RATE_HZ, several channels are averaged.

    What testing_list.txt names is for the test split; without it one speaker in five is, and
    where names do not say who speaks one file in five of every class.

    Raises:
        DataError: a class without a file, a listed file that is not there, a file that is no
            16-bit PCM of RATE_HZ.
    """
    names = tuple(sorted(e.name for e in path.iterdir() if e.is_dir() and e.name[0] not in "._"))
    files = [
        (file, label) for label, name in enumerate(names) for file in _wavs(path / name, must=True)
    ]
    left_out = {}
    if noises := len(_wavs(path / _NOISE, must=False)):
        left_out[f"recordings of {_NOISE}, which are no words"] = noises
    test = _for_test(path, files)

    def recordings() -> Iterator[Recording]:
        for (file, label), out in zip(files, test, strict=True):
            split: SplitName = "test" if out else "train"
            yield split, label, _samples(file)

    return audio_content(path.name, names, recordings, len(files), left_out)


def _wavs(folder: Path, must: bool) -> list[Path]:
    below = files_below(folder) if folder.is_dir() else []
    found = [file for file in below if file.suffix.lower() == ".wav"]
    if must and not found:
        raise DataError(f"{folder}: expected .wav files, got none; add some or remove the folder")
    return found


def _for_test(path: Path, files: list[tuple[Path, int]]) -> list[bool]:
    """Which files are for the test split."""
    named = path / TEST_LIST
    if named.is_file():
        with reading(named, "a list of files", "replace or remove it"):
            wanted = {line.strip() for line in named.read_text("utf-8").splitlines()} - {""}
        there = [file.relative_to(path).as_posix() for file, _ in files]
        if missing := wanted - set(there):
            raise DataError(
                f"{named}: expected files that are there, got {min(missing)}, which is not; "
                "correct the list or add the file"
            )
        return [name in wanted for name in there]
    if all(_SPEAKER in file.name for file, _ in files):
        chosen = {speaker for speaker in {_speaker(file) for file, _ in files} if _held(speaker)}
        return [_speaker(file) in chosen for file, _ in files]
    return held_out(np.array([label for _, label in files])).tolist()  # type: ignore[no-any-return]


def _speaker(file: Path) -> str:
    return file.name.partition(_SPEAKER)[0]


def _held(speaker: str) -> bool:
    """One speaker in five, always the same ones."""
    digest = hashlib.sha256(speaker.encode()).digest()
    return int.from_bytes(digest[:4], "big") < TEST_SHARE * 2**32


def _samples(file: Path) -> Array:
    """Of a file, int16 (samples,)."""
    with reading(file, "a WAV file", "replace or remove the file"):
        try:
            with wave.open(str(file), "rb") as opened:
                facts = opened.getparams()
                content = opened.readframes(facts.nframes)
        except wave.Error as error:
            raise ValueError(str(error)) from error
    if (facts.sampwidth, facts.framerate) != (2, RATE_HZ):
        raise DataError(
            f"{file}: expected 16-bit samples at {RATE_HZ:,} Hz, got {8 * facts.sampwidth}-bit at "
            f"{facts.framerate:,} Hz; convert it (ffmpeg -i in.wav -ar {RATE_HZ} "
            "-sample_fmt s16 out.wav)"
        )
    if not content:
        raise DataError(f"{file}: expected a recording, got one of no length; remove the file")
    whole = len(content) // (2 * facts.nchannels) * facts.nchannels
    samples = np.frombuffer(content, "<i2", whole).reshape(-1, facts.nchannels)
    return np.asarray(np.rint(samples.mean(axis=1)), np.int16)
