"""The converter's own process: `python -m tally.compression.converting PARENT_PID`.

It makes TensorFlow ready, then reads one line: a JSON list of {saved_model, quantisation,
calibration, float_file, file}. A line on the real stdout says how each ended; what TensorFlow
writes beside it goes to stderr. A crash here ends this process and nothing else: converter.py
starts another for the jobs that are left.
"""

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any


def main(parent_pid: str) -> None:
    """Convert each job in order, and say so."""
    from tally import lifeline
    from tally.learning.tensorflow import environment

    lifeline.end_with(int(parent_pid))
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # TensorFlow prints
    environment.load_keras()
    for job in json.loads(sys.stdin.readline() or "[]"):
        print(json.dumps({"begun": job["file"]}), file=answers, flush=True)
        try:
            made = convert(job)
            temporary = Path(job["file"] + ".tmp")
            temporary.write_bytes(made)
            temporary.replace(job["file"])
            ended: dict[str, Any] = {"made": job["file"], "bytes": len(made)}
        except Exception as error:
            words = " ".join(str(error).split())[:300]
            ended = {"failed": job["file"], "why": f"{type(error).__name__}: {words}"}
        print(json.dumps(ended), file=answers, flush=True)


def convert(job: dict[str, Any]) -> bytes:
    """A .tflite model, as the job says."""
    if job["quantisation"] in ("weights8", "weights4"):
        return _weights_only(job)
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_saved_model(job["saved_model"])
    if job["quantisation"] != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if job["quantisation"] == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if job["quantisation"] == "int8":
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.representative_dataset = _examples(Path(job["calibration"]))
    with _quiet():
        return bytes(converter.convert())


def _weights_only(job: dict[str, Any]) -> bytes:
    """From the float model that was made before: 8-bit or 4-bit weights a channel."""
    from ai_edge_quantizer import quantizer, recipe

    bits = {"weights8": recipe.dynamic_wi8_afp32, "weights4": recipe.dynamic_wi4_afp32}
    quantise = quantizer.Quantizer(job["float_file"], bits[job["quantisation"]]())
    with _quiet():
        return bytes(quantise.quantize().quantized_model)


def _examples(calibration: Path) -> Callable[[], Iterator[list[Any]]]:
    """What the converter calibrates on, one example at a time."""
    import numpy as np

    examples = np.load(calibration, allow_pickle=False)

    def each() -> Iterator[list[Any]]:
        for first in range(len(examples)):
            yield [examples[first : first + 1]]

    return each


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


if __name__ == "__main__":
    main(*sys.argv[1:])
