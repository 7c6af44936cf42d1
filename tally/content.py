"""Of which sources an image was made: a short tag, which compiled pipelines expect of it.

`python -m tally.content` prints the tag of the sources beside it; images/ keeps that in the file
CONTENT of the image. A compiled pipeline gives each step the tag of the sources that it was
compiled from, as TALLY_EXPECTED_CONTENT: what runs is what was submitted, or nothing.
`python -m tally.content meter` prints that of the meter's image.
"""

import hashlib
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from tally import __version__
from tally.errors import SpecError

PROJECT = Path(__file__).resolve().parents[1]
COMPONENTS_IMAGE = f"tally:{__version__}"  # what a compiled pipeline has another for
EXPECTED = "TALLY_EXPECTED_CONTENT"
FILE = "CONTENT"  # in the image, beside tally/
LOCK = "requirements/local.lock"
_LETTERS = 16
# The steps' image has one tag for CPU, GPU and TPU: whichever a pipeline runs in, it fits.
_LOCKS = (LOCK, "requirements/worker-gpu.lock", "requirements/worker-tpu.lock")
_MAKING = ("images/libraries.sh", "images/sbom.py", "images/trim.sh")
_PARTS = {  # of each image: folders and files
    "worker": (("tally", "components"), (*_LOCKS, "images/worker.Dockerfile", *_MAKING)),
    "meter": (("tally",), ("requirements/meter.lock", "images/meter.Dockerfile", *_MAKING)),
}


def tag(files: Iterable[tuple[str, bytes]]) -> str:
    """The tag of these files: 16 hexadecimal letters, whatever their order.

    Args:
        files: the path of each below the project, with slashes, and what it holds.
    """
    whole = hashlib.sha256()
    for name, data in sorted(files):
        whole.update(f"{name}\0{len(data)}\0".encode())
        whole.update(data)
    return whole.hexdigest()[:_LETTERS]


def tag_of(project: Path = PROJECT, image: str = "worker") -> str:
    """The tag of the sources in a project's folder: code, locks, and how the image is made.

    Args:
        project: the folder.
        image: worker or meter.

    Raises:
        SpecError: a file of them cannot be read.
    """
    folders, files = _PARTS[image]
    found = (path for folder in folders for path in (project / folder).rglob("*"))
    paths = [path for path in found if path.is_file() and "__pycache__" not in path.parts]
    try:
        return tag(
            (path.relative_to(project).as_posix(), path.read_bytes())
            for path in [*paths, *(project / name for name in files)]
        )
    except OSError as error:
        raise SpecError(
            f"content: expected Tally's sources and {LOCK} in {project}, got {error.strerror} for "
            f"{error.filename}; run it in the project's folder"
        ) from error


def require_expected(environment: Mapping[str, str] = os.environ, project: Path = PROJECT) -> None:
    """Refuse to run in an image that was made of other sources than the pipeline was compiled from.

    Nothing is expected where no compiled pipeline says so: on a laptop, in a gang's workers, which
    have their conductor's image.

    Raises:
        SpecError: says both tags.
    """
    expected = environment.get(EXPECTED, "")
    if not expected:
        return
    try:
        found = (project / FILE).read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        found = "none"
    if found != expected:
        raise SpecError(
            f"image: expected one of content {expected}, from which this pipeline was compiled, "
            f"got {found}; build and push the image of these sources, or compile the image's own"
        )


if __name__ == "__main__":
    print(tag_of(PROJECT, *sys.argv[1:]))
