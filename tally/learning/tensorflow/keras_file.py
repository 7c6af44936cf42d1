"""model.keras, which Keras loads for the user: Tally itself builds a model anew by its name."""

import os
import secrets
from pathlib import Path
from typing import Any

from tally.oneline import one_line
from tally.storage import disk, sync_folder

NAME = "model.keras"


def write(path: Path, model: Any) -> str:
    """Write the model, whole or not at all, and not where it is `unloadable`.

    Returns:
        Why Keras could not save it, in a few words; "" for anything else.

    Raises:
        RunError: the disk is full.
    """
    if unloadable(model):
        return ""
    # Keras wants it to end in .keras
    temporary = path.with_name(f".{secrets.token_hex(4)}.{path.name}")
    try:
        with disk(path):
            model.save(temporary)
            with open(temporary, "rb") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
            sync_folder(path.parent)
    except (TypeError, ValueError, NotImplementedError) as error:
        return one_line(str(error), 200)
    finally:
        temporary.unlink(missing_ok=True)
    return ""


def unloadable(model: Any) -> str:
    """Why Keras could not load what it would save, its classes known; "" where it can.

    Keras saves any subclass without a word: its config only misses what __init__ takes.
    """
    import keras
    import tensorflow as tf

    layers = [model, *model._flatten_layers()]
    own = {type(layer).__name__: type(layer) for layer in layers if not _is_kerass(layer)}
    if not own:
        return ""
    try:
        with keras.saving.custom_object_scope(own), tf.device("CPU:0"):
            config = keras.saving.serialize_keras_object(model)
            keras.saving.deserialize_keras_object(config, safe_mode=False)
    except Exception as error:  # of the user's own get_config() and __init__()
        first: BaseException = error  # which Keras puts a page of words around
        while under := first.__cause__ or first.__context__:
            first = under
        return f"{', '.join(own)}: {one_line(str(first), 200)}"
    return ""


def _is_kerass(layer: Any) -> bool:
    return type(layer).__module__.startswith("keras.")
