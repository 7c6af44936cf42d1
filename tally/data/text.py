"""Texts as characters: a vocabulary of the training split, and token ids of one length."""

from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np

from tally.data.content import Array, Chunk, Content, Meta, SplitName
from tally.data.reading import gathered, rows_a_chunk

PADDING, UNKNOWN = 0, 1
Row = tuple[SplitName, int, str]


def vocabulary(texts: Iterable[str]) -> tuple[str, ...]:
    """Padding (""), unknown ("�"), then every character that occurs, in order of code points."""
    characters: set[str] = set()
    for text in texts:
        characters.update(text)
    return ("", "\ufffd", *sorted(characters - {"\0", "\ufffd"}))


def encode(texts: list[str], known: tuple[str, ...], length: int) -> Array:
    """Token ids int32 (n, length) of texts.

    A longer text loses its end. A shorter one is padded in front, so that what a recurrent model
    reads last is always text.

    Args:
        texts: n texts.
        known: a vocabulary.
        length: characters an example.
    """
    padded = "".join(text[:length].rjust(length, "\0") for text in texts)
    points = np.frombuffer(padded.encode("utf-32-le", "surrogatepass"), np.uint32)
    alphabet = np.array([ord(character) for character in known[2:]], np.uint32)
    place = np.searchsorted(alphabet, points)
    hit = np.append(alphabet, np.uint32(0))[place] == points
    ids = np.where(hit, place + 2, UNKNOWN)
    ids[points == 0] = PADDING
    return ids.astype(np.int32).reshape(len(texts), length)


def text_content(
    name: str,
    classes: tuple[str, ...],
    rows: Callable[[], Iterable[Row]],
    length: int,
    left_out: Mapping[str, int] | None = None,
) -> Content:
    """Texts as a dataset of kind tokens.

    Args:
        name: of the dataset.
        classes: names of the classes.
        rows: split, label and text of every example; starts over at every call.
        length: characters an example is brought to.
        left_out: as Content.
    """
    known = vocabulary(text[:length] for split, _, text in rows() if split == "train")
    meta = Meta(name, "tokens", (length,), "int32", 1.0, classes, known)

    def chunks() -> Iterator[Chunk]:
        cut = ((split, label, text[:length]) for split, label, text in rows())
        most = rows_a_chunk(16 * length)
        return gathered(cut, most, lambda texts: encode(texts, known, length))

    return Content(meta, chunks, left_out=left_out or {})
