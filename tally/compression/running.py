"""A .tflite model at work, on ai-edge-litert."""

from pathlib import Path

import numpy as np

from tally.data.format import Array, Meta, Split
from tally.data.head import head
from tally.errors import DataError
from tally.tasks import registry


class Runner:
    """An interpreter with one thread: what a device, or one serving process, has.

    Args:
        file: the .tflite.
        meta: of the dataset: what the model takes.

    Raises:
        DataError: not a .tflite, or a model of another shape.
    """

    def __init__(self, file: Path, meta: Meta) -> None:
        from ai_edge_litert.interpreter import Interpreter

        try:
            self._interpreter = Interpreter(model_path=str(file), num_threads=1)
            self._input = self._interpreter.get_input_details()[0]
            self._output = self._interpreter.get_output_details()[0]
        except (ValueError, RuntimeError, OSError) as error:
            raise DataError(
                f"{file}: expected a .tflite model, got {' '.join(str(error).split())[:200]}; "
                "make it again, or choose another version"
            ) from error
        self._meta, self._batch = meta, 0
        both = (self._input, self._output)
        shapes = [tuple(int(n) for n in d["shape_signature"][1:]) for d in both]
        wanted = [tuple(meta.input_shape), head(meta).answer]
        if shapes != wanted:
            raise DataError(
                f"{file}: expected a model from {wanted[0]} to {wanted[1]}, those of dataset "
                f"{meta.name}, got one from {shapes[0]} to {shapes[1]}; choose its own dataset"
            )

    def batch(self, x: Array) -> Array:
        """What the model gives for stored examples, float32 (n, classes); any n."""
        if len(x) != self._batch:
            shape = [len(x), *self._meta.input_shape]
            self._interpreter.resize_tensor_input(self._input["index"], shape)
            self._interpreter.allocate_tensors()
            self._batch = len(x)
        self._interpreter.set_tensor(self._input["index"], taken(x, self._meta))
        self._interpreter.invoke()
        outputs: Array = self._interpreter.get_tensor(self._output["index"])
        return outputs

    def answers(self, split: Split, batch_size: int = 64) -> Array:
        """What it says of a whole split, in order, as the task decodes it (n, …)."""
        parts = [
            self.batch(split.gather(np.arange(first, min(first + batch_size, len(split))))[0])
            for first in range(0, len(split), batch_size)
        ]
        return registry.named(self._meta.task).decode(np.concatenate(parts), self._meta.facts)


def taken(x: Array, meta: Meta) -> Array:
    """Stored values as the exported model takes them."""
    if meta.kind == "tokens":
        return np.asarray(x, np.int32)
    return np.asarray(x, np.float32) * np.float32(meta.input_scale)
