"""Words spoken by espeak-ng, in a process of its own for each series.

espeak-ng goes on from where the last word has left it: only a series that begins in a new process
is the same each time. It comes in the package espeakng-loader (GPL-3.0; a program of its own loads
it).
"""

import ctypes
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from tally.data.content import Array
from tally.data.installed import package_file
from tally.errors import DataError

LIBRARY = ("espeakng_loader", "libespeak-ng.so")
RATE_HZ = 22_050
_SYNCHRONOUS, _RATE, _PITCH, _NO_EXIT = 2, 1, 3, 0x8000  # of espeak-ng's speak_lib.h
_END_SECONDS = 10.0


class Said(NamedTuple):
    """What is to be said: by a language, or language+variant, at words a minute and pitch 0-100."""

    text: str
    voice: str
    words_a_minute: int
    pitch: int


def variants() -> list[str]:
    """The variants of voice that speak the same each time, sorted: breath is never the same twice.

    Raises:
        DataError: espeakng-loader is not installed.
    """
    files = sorted((_data() / "voices" / "!v").iterdir())
    return [file.name for file in files if b"\nbreath " not in file.read_bytes()]


def spoken(series: Sequence[Said]) -> Iterator[Array]:
    """Each of the series, int16 at RATE_HZ, as long as it takes.

    Raises:
        DataError: espeak-ng is not there, or cannot say one.
    """
    command = [sys.executable, "-m", "tally.data.espeak"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdin and process.stdout
        try:
            process.stdin.write(json.dumps(series).encode())
            process.stdin.close()
            for each in series:
                length = int.from_bytes(process.stdout.read(4), "little")
                found = np.frombuffer(process.stdout.read(2 * length), "<i2")
                if not length or len(found) != length:
                    raise DataError(
                        f"espeak-ng: expected it to say {each.text!r} as {each.voice}, got "
                        f"{'nothing' if not length else 'a part of it'}; remove .venv and run "
                        "again, which makes it anew"
                    )
                yield found
        finally:
            process.kill()
            process.wait(_END_SECONDS)


def _data() -> Path:
    return package_file(LIBRARY[0], "espeak-ng-data/phondata").parent


def _say(series: Sequence[Said], out: BinaryIO) -> None:
    """The child: the length of each in samples, 0 where it cannot be said, and its samples."""
    library = ctypes.CDLL(str(package_file(*LIBRARY)))
    pieces: list[bytes] = []

    def take(samples: Any, count: int, _events: Any) -> int:
        if samples and count > 0:
            pieces.append(ctypes.string_at(samples, 2 * count))
        return 0

    kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)
    callback = kind(take)
    rate = library.espeak_Initialize(_SYNCHRONOUS, 0, str(_data()).encode(), _NO_EXIT)
    library.espeak_SetSynthCallback(callback)
    for each in series:
        pieces.clear()
        failed = rate != RATE_HZ or library.espeak_SetVoiceByName(each.voice.encode())
        if not failed:
            library.espeak_SetParameter(_RATE, each.words_a_minute, 0)
            library.espeak_SetParameter(_PITCH, each.pitch, 0)
            text = each.text.encode() + b"\0"
            library.espeak_Synth(text, len(text), 0, 1, 0, 1, None, None)
            library.espeak_Synchronize()
        said = b"" if failed else b"".join(pieces)
        out.write((len(said) // 2).to_bytes(4, "little") + said)
    out.flush()


if __name__ == "__main__":
    _say([Said(*each) for each in json.load(sys.stdin)], sys.stdout.buffer)
