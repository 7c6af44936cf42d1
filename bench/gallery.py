"""The README's pictures: what the newest run of each application says of examples it never saw.

`python -m bench.gallery` reads the runs under $TALLY_HOME (make submit PIPELINE=cnn, sentiment,
speech) and writes docs/*.svg; a name in red was wrong.
"""

import base64
import io
import json
import sys
from collections.abc import Callable
from html import escape
from pathlib import Path

import numpy as np

from tally import storage
from tally.compression.running import Runner
from tally.costing.ledger import open_ledger
from tally.data import registry
from tally.data.format import Array, Dataset, open_dataset
from tally.spec import validate

DOCS = Path(__file__).parents[1] / "docs"
SHOWN = 8  # examples a picture, a wrong one among them where there is one
CELL, GAP, LINE = 88, 10, 16  # pixels
RIGHT, WRONG, MUTED = "#1a7f4b", "#c62f2f", "#6b7280"


def main() -> None:
    """Draw what there are runs of."""
    newest = {
        run.pipeline: run for run in reversed(open_ledger().runs()) if run.state == "succeeded"
    }
    for pipeline, picture in PICTURES.items():
        if pipeline not in newest:
            print(f"no run of {pipeline}: make submit PIPELINE={pipeline}", file=sys.stderr)
            continue
        run = newest[pipeline]
        folder = storage.run_folder(run.id)
        dataset = open_dataset(registry.prepare(validate(pipeline, run.spec))[0])
        file = folder / "candidates" / "float32.tflite"
        probabilities = Runner(file, dataset.meta).answers(dataset.splits["test"])
        out = DOCS / f"{pipeline}.svg"
        out.write_text(drawn(dataset, probabilities, picture), encoding="utf-8")
        accuracy = json.loads((folder / "evaluation.json").read_text())["test_accuracy"]
        print(f"{out.relative_to(DOCS.parent)}: {pipeline}, {accuracy:.2%}")


def drawn(dataset: Dataset, probabilities: Array, picture: Callable[[Array, Dataset], str]) -> str:
    """Examples side by side, under each what the model says of it."""
    labels, said = dataset.splits["test"].targets(), probabilities.argmax(axis=1)
    random = np.random.default_rng(0)
    wrong = random.permutation(np.flatnonzero(said != labels))[:1]
    right = random.permutation(np.flatnonzero(said == labels))[: SHOWN - len(wrong)]
    cells = []
    for place, row in enumerate([*right, *wrong]):
        x = place * (CELL + GAP)
        name = dataset.meta.class_names[said[row]]
        truth = dataset.meta.class_names[labels[row]]
        hit = said[row] == labels[row]
        colour, beside = (
            (RIGHT, f"{probabilities[row].max():.0%}") if hit else (WRONG, f"is {truth}")
        )
        example = dataset.splits["test"].gather(np.array([row]))[0][0]
        cells.append(
            f'<g transform="translate({x},0)">{picture(example, dataset)}'
            f'<text x="{CELL / 2}" y="{CELL + LINE}" fill="{colour}">{escape(name)}</text>'
            f'<text x="{CELL / 2}" y="{CELL + 2 * LINE}" fill="{MUTED}">'
            f"{escape(beside)}</text></g>"
        )
    width, height = SHOWN * (CELL + GAP) - GAP, CELL + 2 * LINE + 6
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" font-family="system-ui,sans-serif" font-size="12" '
        f'text-anchor="middle">{"".join(cells)}</svg>\n'
    )


def pixels(grey: Array) -> str:
    """A picture (height, width) of 0 to 1, dark where it is 1, stretched over a cell."""
    from PIL import Image

    buffer = io.BytesIO()
    picture = Image.fromarray(np.rint(255 * (1 - grey)).astype(np.uint8))
    picture.thumbnail((CELL, CELL))
    picture.save(buffer, "PNG")
    content = base64.b64encode(buffer.getvalue()).decode()
    return (
        f'<image width="{CELL}" height="{CELL}" preserveAspectRatio="none" '
        f'style="image-rendering:pixelated" href="data:image/png;base64,{content}"/>'
    )


def digit(example: Array, dataset: Dataset) -> str:
    """A picture of the dataset."""
    return pixels(example[..., 0] * dataset.meta.input_scale)


def text(example: Array, dataset: Dataset) -> str:
    """A word, on as many lines as it takes."""
    word = "".join(dataset.meta.vocabulary[token] for token in example.tolist())
    lines = [word[k : k + 11] for k in range(0, len(word), 11)]
    spans = "".join(
        f'<text x="{CELL / 2}" y="{CELL / 2 + LINE * (k - (len(lines) - 1) / 2)}" '
        f'font-size="13">{escape(line)}</text>'
        for k, line in enumerate(lines)
    )
    return f'<rect width="{CELL}" height="{CELL}" fill="none" stroke="#d1d5db"/>{spans}'


def spectrum(example: Array, dataset: Dataset) -> str:
    """Loudness by time and pitch."""
    frames = np.lib.stride_tricks.sliding_window_view(example.astype(float), 512)[::160]
    loud = np.log(abs(np.fft.rfft(frames * np.hanning(512)))[:, 2:120] + 1).T[::-1]
    low, high = np.percentile(loud, [5, 99.8])
    return pixels(np.clip((loud - low) / (high - low), 0, 1))


PICTURES: dict[str, Callable[[Array, Dataset], str]] = {
    "cnn": digit,
    "sentiment": text,
    "speech": spectrum,
}

if __name__ == "__main__":
    main()
