"""Recordings as one second of 16-bit samples at one rate."""

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from tally.data.content import Array, Chunk, Content, Meta, SplitName
from tally.data.reading import gathered, rows_a_chunk

RATE_HZ = 16_000
SAMPLES = RATE_HZ  # of an example: one second
Recording = tuple[SplitName, int, Array]


def of_one_length(samples: Array) -> Array:
    """The middle of a recording, with silence around it where it is too short: int16 (SAMPLES,)."""
    found = np.zeros(SAMPLES, np.int16)
    spare = len(samples) - SAMPLES
    if spare >= 0:
        found[:] = samples[spare // 2 : spare // 2 + SAMPLES]
    else:
        found[-spare // 2 : -spare // 2 + len(samples)] = samples
    return found


def audio_content(
    name: str,
    classes: tuple[str, ...],
    recordings: Callable[[], Iterator[Recording]],
    examples: int,
    left_out: Mapping[str, int] | None = None,
) -> Content:
    """Recordings as a dataset of kind audio.

    Args:
        name: of the dataset.
        classes: names of the classes.
        recordings: split, label and samples of each, int16 at RATE_HZ; starts over at every call.
        examples: how many there are.
        left_out: as Content.
    """
    meta = Meta(name, "audio", (SAMPLES,), "int16", 1 / 32_768, classes)

    def chunks() -> Iterator[Chunk]:
        seconds = ((split, label, of_one_length(heard)) for split, label, heard in recordings())
        return gathered(seconds, rows_a_chunk(2 * SAMPLES), np.stack)

    return Content(meta, chunks, examples, left_out or {})
