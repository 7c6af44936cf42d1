"""A folder of class-named folders of WAV files, as Speech Commands comes."""

import hashlib
import wave
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from tally.data.audio import RATE_HZ, Recording, audio_content
from tally.data.content import Array, Content, SplitName
from tally.data.levels import Levels, levels
from tally.data.reading import files_below, reading
from tally.data.split import TEST_SHARE, held_out
from tally.errors import DataError
from tally.spec import Spec

VERSION = 2
OPTIONS = ()
LAYOUT = "a folder of class-named folders of .wav files, as Speech Commands"
TEST_LIST, VALIDATION_LIST = "testing_list.txt", "validation_list.txt"
_NOISE = "_background_noise_"
_SPEAKER = "_nohash_"  # before it stands who speaks


def recognises(path: Path) -> bool:
    """A folder with a .wav file in one of its folders."""
    return path.is_dir() and any(
        file.suffix.lower() == ".wav" and file.parent != path for file in files_below(path)
    )


def load(path: Path, spec: Spec) -> Content:
    """One second of each file, its middle; 16-bit PCM at RATE_HZ, several channels are averaged.

    What testing_list.txt names is for the test split, what validation_list.txt names where there is
    no other (else it is left out); without them one speaker in five is, and where names do not say
    who speaks one file in five of every class.

    Raises:
        DataError: a class without a file, a listed file that is not there, a file that is no
            16-bit PCM of RATE_HZ.
    """
    found = levels(path)
    names, left_out = _classes(found.root), {}
    if noises := len(_wavs(found.root / _NOISE, must=False)):
        left_out[f"recordings of {_NOISE}, which are no words"] = noises
    if found.given:
        if extra := set(_classes(found.given["test"])) - set(names):
            raise DataError(
                f"{found.given['test']}: expected the classes of {found.root}, got {min(extra)} "
                "too; add it to train or remove it"
            )
        files = [
            (split, file, label)
            for split, level in found.given.items()
            for file, label in _files(level, names, must=split == "train")
        ]
    else:
        found, files = _divided(found, _files(found.root, names, must=True))

    def recordings() -> Iterator[Recording]:
        for split, file, label in files:
            yield split, label, _samples(file)

    return found.told(audio_content(path.name, names, recordings, len(files), left_out))


def _classes(folder: Path) -> tuple[str, ...]:
    return tuple(sorted(e.name for e in folder.iterdir() if e.is_dir() and e.name[0] not in "._"))


def _files(folder: Path, names: tuple[str, ...], must: bool) -> list[tuple[Path, int]]:
    """Files below the folders of classes, with their labels."""
    return [
        (file, label) for label, name in enumerate(names) for file in _wavs(folder / name, must)
    ]


def _wavs(folder: Path, must: bool) -> list[Path]:
    below = files_below(folder) if folder.is_dir() else []
    found = [file for file in below if file.suffix.lower() == ".wav"]
    if must and not found:
        raise DataError(f"{folder}: expected .wav files, got none; add some or remove the folder")
    return found


def _divided(
    found: Levels, files: list[tuple[Path, int]]
) -> tuple[Levels, list[tuple[SplitName, Path, int]]]:
    """Files with their splits, and what there is to say; a validation list's are not trained on."""
    lists = {name: _listed(found.root, name, files) for name in (TEST_LIST, VALIDATION_LIST)}
    lists = {name: listed for name, listed in lists.items() if listed}
    kept = files
    if len(lists) == 2:
        validation = lists[VALIDATION_LIST] - lists[TEST_LIST]
        kept = [each for each in files if each[0] not in validation]
        found = replace(found, left_out={f"files of {VALIDATION_LIST}": len(files) - len(kept)})
    elif VALIDATION_LIST in lists:
        said = f"{VALIDATION_LIST} is tested on: there is no {TEST_LIST}"
        found = replace(found, said=(said,))
    test = next(iter(lists.values()), None)
    out = _held_out(files) if test is None else [file in test for file, _ in kept]
    return found, [
        ("test" if held else "train", file, label)
        for (file, label), held in zip(kept, out, strict=True)
    ]


def _listed(root: Path, name: str, files: list[tuple[Path, int]]) -> set[Path]:
    """The files that a list names; none where there is no list."""
    path = root / name
    if not path.is_file():
        return set()
    with reading(path, "a list of files", "replace or remove it"):
        wanted = {line.strip() for line in path.read_text("utf-8").splitlines()} - {""}
    there = {file.relative_to(root).as_posix(): file for file, _ in files}
    if missing := wanted - there.keys():
        raise DataError(
            f"{path}: expected files that are there, got {min(missing)}, which is not; "
            "correct the list or add the file"
        )
    return {there[name] for name in wanted}


def _held_out(files: list[tuple[Path, int]]) -> list[bool]:
    """Which files are for the test split where nobody says."""
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
