"""What a run on a cluster had spent by its last look, kept in the store: a pod's ledger dies with
it, and a budget belongs to the run over all its attempts."""

import io
import json
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from tally import storage
from tally.buckets import kept
from tally.errors import RunError, check_schema
from tally.storage import CloudPath

SCHEMA = 1
_NAME = "spending.json"
_SECONDS = 10.0


@dataclass(frozen=True)
class KeptSpending:
    """When the first attempt began (microseconds, UTC), and the bill's total since, in USD."""

    begun_microseconds: int
    usd: float


def read(run_id: str) -> KeptSpending | None:
    """What the attempt before kept; None where there was none.

    Raises:
        RunError: the store does not answer, or what is there is none of ours.
        SchemaError: a newer Tally kept it.
    """
    folder = storage.store() / "runs" / run_id / "spending"
    text = _text(folder)
    if text is None:
        return None
    try:
        facts = json.loads(text)
        check_schema(str(folder / _NAME), int(facts.pop("schema")), SCHEMA)
        return KeptSpending(**facts)
    except (ValueError, TypeError, KeyError) as error:
        raise RunError(
            f"{folder / _NAME}: expected what the run has spent, got {type(error).__name__}; "
            "remove the file to count anew"
        ) from error


def write(run_id: str, spending: KeptSpending) -> None:
    """Keep it, over what was kept before.

    Raises:
        RunError: the store does not take it.
    """
    folder = storage.store() / "runs" / run_id / "spending"
    data = json.dumps({"schema": SCHEMA, **asdict(spending)}).encode()
    if isinstance(folder, CloudPath):
        kept.put(folder, {_NAME: io.BytesIO(data)}, _SECONDS)
        return
    with storage.atomic_file(folder / _NAME) as file:
        file.write(data)


def _text(folder: storage.Location) -> str | None:
    if isinstance(folder, Path):
        path = folder / _NAME
        return path.read_text() if path.exists() else None
    from tally.buckets.objects import download, reach, told

    for entry in kept.listed(folder, _SECONDS):
        if entry.name.endswith(f"/{_NAME}"):
            with tempfile.TemporaryDirectory() as scratch, told(folder, RunError):
                download(reach(folder), entry, Path(scratch) / _NAME, _SECONDS)
                return (Path(scratch) / _NAME).read_text()
    return None
