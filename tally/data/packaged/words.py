"""words: twelve commands spoken by espeak-ng in many voices, with noise, made from a seed.

espeak-ng's variants of voice, each with an English accent, speak every word at four speeds and
pitches; each recording gets a place in its second, a loudness and a noise of its own (white to
brown, 5 to 30 dB below the voice). One family of voices in five (klatt, klatt2, …) is held out:
nothing in the test split is spoken by a voice that training has heard. It is synthetic speech: it
shows sound going through a pipeline, and is no measure of recognising people.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from tally.data import espeak
from tally.data.audio import RATE_HZ, SAMPLES, Recording, audio_content
from tally.data.content import Array, Content, SplitName
from tally.data.espeak import Said
from tally.spec import Spec

VERSION = 1
OPTIONS = ()
FILE = espeak.LIBRARY
WORDS = (
    "yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go", "forward", "backward",
)  # fmt: skip
ACCENTS = ("en-us", "en", "en-gb-scotland", "en-gb-x-rp", "en-us-nyc", "en-029")
MANNERS = ((130, 40), (160, 60), (190, 50), (145, 75))  # words a minute, pitch
TEST_EVERY = 5  # families of voices
SEED = 0


def voices() -> list[str]:
    """The voices, in order: a variant in an accent."""
    return [f"{ACCENTS[k % len(ACCENTS)]}+{name}" for k, name in enumerate(espeak.variants())]


def splits(spoken: Sequence[str]) -> dict[str, SplitName]:
    """In which split each voice speaks: the same for those whose names differ in a number only."""
    families = sorted({_family(voice) for voice in spoken})
    held = set(families[TEST_EVERY - 1 :: TEST_EVERY])
    return {voice: "test" if _family(voice) in held else "train" for voice in spoken}


def _family(voice: str) -> str:
    return voice.partition("+")[2].rstrip("0123456789")


def load(spec: Spec) -> Content:
    """The words; see the module's docstring."""
    split_of = splits(voices())
    series = [
        (split, label, Said(word, voice, *manner))
        for voice, split in split_of.items()
        for label, word in enumerate(WORDS)
        for manner in MANNERS
    ]

    def recordings() -> Iterator[Recording]:
        random = np.random.default_rng(SEED)
        said = espeak.spoken([each for _, _, each in series])
        for (split, label, _), samples in zip(series, said, strict=True):
            yield split, label, recorded(samples, random)

    return audio_content("words", WORDS, recordings, len(series))


def recorded(said: Array, random: np.random.Generator) -> Array:
    """One second with the word somewhere in it, at some loudness, in some noise: int16 (SAMPLES,).

    Args:
        said: as espeak-ng gives it.
        random: says where, how loud and in which noise.
    """
    wave = said.astype(np.float64)
    loud = np.flatnonzero(abs(wave) > 0.01 * abs(wave).max())
    wave = _resampled(wave[loud[0] : loud[-1] + 1])[:SAMPLES]
    second = np.zeros(SAMPLES)
    at = int(random.integers(0, SAMPLES - len(wave) + 1))
    second[at : at + len(wave)] = wave
    spectrum = np.fft.rfft(random.normal(size=SAMPLES))
    colour = random.uniform(0, 2)  # 0 white, 1 pink, 2 brown: a power of the frequency
    spectrum *= np.maximum(np.arange(len(spectrum)), 1.0) ** (-colour / 2)
    noise = np.fft.irfft(spectrum, SAMPLES)
    below = 10 ** (-random.uniform(5, 30) / 20)
    mixed = second + noise * below * np.sqrt((wave**2).mean() / (noise**2).mean())
    mixed *= 10 ** (random.uniform(-20, -1) / 20) * 32_767 / abs(mixed).max()
    return np.asarray(np.rint(mixed), np.int16)


def _resampled(wave: Array) -> Array:
    """From espeak-ng's rate to RATE_HZ: of its spectrum what the lower rate can hold."""
    samples = round(len(wave) * RATE_HZ / espeak.RATE_HZ)
    spectrum = np.fft.rfft(wave)[: samples // 2 + 1]
    return np.asarray(np.fft.irfft(spectrum, samples) * (samples / len(wave)))
