"""The on-disk dataset: a folder of memory-mapped shards and a `dataset.json` that describes them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

SCHEMA = 1
Kind = Literal["image", "tokens", "sequence"]
Array = np.ndarray[Any, np.dtype[Any]]


class Chunk(NamedTuple):
    """Some examples of one split: `x` of shape (n, *input_shape), `y` int of shape (n,)."""

    split: Literal["train", "test"]
    x: Array
    y: Array


@dataclass(frozen=True)
class Meta:
    """What a model must know of a dataset.

    Attributes:
        name: as shown to people.
        kind: image (height, width, channels), tokens (length,) of ids, sequence (length, features).
        input_shape: of one example.
        input_dtype: numpy name as stored: uint8 for pictures, int32 for tokens, float32.
        input_scale: what a stored value is multiplied by before the model sees it (1/255 for
            pictures; 1 for tokens, which stay integers).
        class_names: label k is class_names[k].
        vocabulary: token k is vocabulary[k]; 0 is padding, 1 unknown; empty unless kind is tokens.
    """

    name: str
    kind: Kind
    input_shape: tuple[int, ...]
    input_dtype: str
    input_scale: float
    class_names: tuple[str, ...]
    vocabulary: tuple[str, ...] = ()


@dataclass(frozen=True)
class Content:
    """A source opened by a loader: its meta, and its examples chunk by chunk (never all at once)."""

    meta: Meta
    chunks: Callable[[], Iterator[Chunk]]
