"""What loaders give: a dataset's meta and its examples, chunk by chunk."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, NamedTuple

import numpy as np

from tally.tasks.packaged import USUAL
from tally.tasks.task import Facts

Kind = Literal["image", "tokens", "sequence", "audio"]
SplitName = Literal["train", "test"]
Array = np.ndarray[Any, np.dtype[Any]]


class Chunk(NamedTuple):
    """Some examples of one split: `x` of shape (n, *input_shape), `y` as the task's target says.

    Where that is ragged, `y` has a tally.tasks.targets.Ragged.
    """

    split: SplitName
    x: Array
    y: Any


@dataclass(frozen=True)
class Meta:
    """What a model must know of a dataset.

    Attributes:
        name: as shown to people.
        kind: image (height, width, channels), tokens (length,) of ids, sequence (length, features),
            audio (samples,) of tally.data.audio's rate.
        input_shape: of one example.
        input_dtype: numpy name as stored: uint8 for pictures, int32 for tokens, int16 for audio,
            float32.
        input_scale: what a stored value is multiplied by before the model sees it (1/255 for
            pictures, 1/32768 for audio; 1 for tokens, which stay integers).
        class_names: label k is class_names[k]; empty where there are none.
        vocabulary: token k is vocabulary[k]; 0 is padding, 1 unknown; empty unless kind is tokens.
        task: what is learned of it, of tally.tasks; or the user's file that has a task of its own.
        learnt: what the task learnt of the training targets beside the names of classes, as JSON.
        reading: how files became examples, as JSON, by parameters' names: decided once, by train,
            so that others can be read as these were; empty where there was nothing to decide.
        ending: units and activation of the task's head where a user's file has the task; else ().
    """

    name: str
    kind: Kind
    input_shape: tuple[int, ...]
    input_dtype: str
    input_scale: float
    class_names: tuple[str, ...] = ()
    vocabulary: tuple[str, ...] = ()
    task: str = USUAL
    learnt: Mapping[str, Any] = field(default_factory=dict, hash=False)
    reading: Mapping[str, Any] = field(default_factory=dict, hash=False)
    ending: tuple[Any, ...] = ()

    @property
    def facts(self) -> Facts:
        """What the task knows of the targets."""
        return {"class_names": self.class_names, **self.learnt}

    def learning(self, task: str, facts: Facts) -> "Meta":
        """The same examples, with what a task has learnt of their targets."""
        known = {"class_names": (), **facts}
        names = tuple(known.pop("class_names"))
        return replace(self, task=task, class_names=names, learnt=known)

    def to_json(self) -> dict[str, Any]:
        """As dataset.json has it: what came later is left out where it is as it always was."""
        found = asdict(self)
        usual = {"task": USUAL, "learnt": {}, "reading": {}, "ending": ()}
        return {k: v for k, v in found.items() if k not in usual or v != usual[k]}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "Meta":
        """Of dataset.json; JSON has lists where Meta has tuples.

        Raises:
            TypeError, AttributeError: it is something else.
        """
        facts: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in found.items()
        }
        return cls(**facts)


@dataclass(frozen=True)
class Content:
    """A source opened by a loader: its meta, and its examples chunk by chunk (never all at once).

    Attributes:
        meta: of the examples to come.
        chunks: starts over at every call.
        examples: how many will come over both splits, 0 if that is not known beforehand.
        left_out: what of the source is no example, in words, and how many.
        said: what was done to the data and what is odd about it, a sentence each; asked once all
            chunks have come.
    """

    meta: Meta
    chunks: Callable[[], Iterator[Chunk]]
    examples: int = 0
    left_out: Mapping[str, int] = field(default_factory=dict)
    said: Callable[[], Sequence[str]] = tuple
