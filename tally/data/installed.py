"""Files that installed packages ship."""

import importlib.util
from pathlib import Path

from tally.errors import DataError


def package_file(package: str, path: str) -> Path:
    """A file that an installed package ships, found without importing the package.

    Raises:
        DataError: the package or the file is not there.
    """
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        if (file := Path(folder) / path).is_file():
            return file
    raise DataError(
        f"{package}: expected the installed package with its file {path}, got none; "
        "remove .venv and run again, which makes it anew"
    )
