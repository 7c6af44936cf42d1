"""A gang's workers without a machine type ask for what past ones needed, and say so."""

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from helpers.made_step import made_step
from helpers.metered_runs import SECOND, life, pod, run
from helpers.served_meter import Meter, served_meter, token_of
from tally.kube.inside import sized_template
from tally.kube.template import resources
from tally.scaling.rightsizing import WORKER
from tally.steps.outbox import Outbox
from tally.steps.step import Step
from tally.steps.worker_size import worker_size

MIB = 1 << 20
DAY = 86400 * SECOND


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Step]:
    (tmp_path / "token").write_text(token_of("team-a"))
    monkeypatch.setenv("TALLY_METER_TOKEN_FILE", str(tmp_path / "token"))
    outbox = Outbox("run-a", 60)
    made = made_step(tmp_path, outbox=outbox, run_id="run-a", pipeline="cnn", submit_pid=0)
    yield made
    made.outbox.close(0)


@pytest.fixture
def meter(here: Step, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Meter]:
    with served_meter(tmp_path, monkeypatch) as made:
        monkeypatch.setenv("TALLY_METER_URL", made.url)
        made.ledger.put_new_runs([run()])
        yield made


def lived(
    meter: Meter, *names: str, cores: float = 1.0, peak: int = 700, told: bool = True
) -> None:
    """Ten minutes of a worker that used 0.5 cores."""
    start = round(time.time() * 1e6) - DAY
    for name in names:
        rows = life(name, start, start + 625 * SECOND, cpu_request_cores=cores, worker="0")
        used = {"cpu_used_core_seconds": 300.0, "memory_peak_bytes": peak * MIB}
        rows[-1] = replace(rows[-1], **used)
        said = pod(name, "work", start, start + 625 * SECOND, source="conductor")
        meter.ledger.write_usage([*rows, said] if told else rows)


def notes(here: Step) -> list[str]:
    path = here.folder / "events.jsonl"
    lines = map(json.loads, path.read_text().splitlines() if path.exists() else [])
    return [line["message"] for line in lines if line["event"] == "note"]


def test_workers_ask_for_what_past_ones_needed_and_may_use_the_usual(
    here: Step, meter: Meter
) -> None:
    lived(meter, "a", "b", "c")
    lived(meter, "whole-1", "whole-2", "whole-3", cores=3.5, peak=9000)  # had a machine type
    lived(meter, "step-1", "step-2", "step-3", peak=9000, told=False)  # the conductor's own pods
    size = worker_size(here, "")
    asked: Any = resources(sized_template(size, image="i"))
    assert asked["requests"] == {"cpu": "600m", "memory": "832Mi"}
    assert asked["limits"] == {"cpu": "1000m", "memory": "2048Mi"}
    (note,) = notes(here)
    assert note.startswith("each worker asks for 600m CPU and 832 MiB: 3 past lives used up to 0.5")


def test_with_a_machine_type_or_without_a_past_nothing_is_sized(here: Step, meter: Meter) -> None:
    assert worker_size(here, "") == WORKER
    lived(meter, "a", "b", "c")
    assert worker_size(here, "n2-standard-4") == WORKER
    assert notes(here) == []
    asked: Any = resources(sized_template(WORKER, image="i"))
    assert asked["requests"] == asked["limits"] == {"cpu": "1000m", "memory": "2048Mi"}


def test_a_meter_that_is_away_holds_training_up_for_moments_and_is_named(
    here: Step, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TALLY_METER_URL", "http://127.0.0.1:9")
    monkeypatch.setattr("tally.steps.worker_size.ASKING_SECONDS", 0.3)
    began = time.monotonic()
    assert worker_size(here, "") == WORKER
    assert time.monotonic() - began < 30
    assert notes(here)[0].startswith("workers ask for the usual 1000m CPU and 2048 MiB: the meter")
