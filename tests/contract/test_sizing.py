"""What steps ask for follows what the meter saw their past pods use."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from helpers.contract.replay import Replay
from helpers.metered_runs import SECOND, life, run
from helpers.served_meter import Meter, served_meter, token_of
from tally.costing.quotes import RunEvent
from tally.runs.kubeflow import ending, sizing

DAY = 86400 * SECOND
MIB = 1 << 20


@pytest.fixture
def meter(run_tally: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Meter]:
    token = tmp_path / "token"
    token.write_text(token_of("kubeflow"))
    with served_meter(tmp_path, monkeypatch) as made:
        monkeypatch.setattr(ending, "BILL_SECONDS", 0.3)
        monkeypatch.setattr(ending, "FINAL_SECONDS", 0.5)
        monkeypatch.setenv("TALLY_METER_URL", made.url)
        monkeypatch.setenv("TALLY_METER_TOKEN_FILE", str(token))
        yield made


def lived(meter: Meter, step: str, *days_ago: int, **fields: Any) -> None:
    """Nights in which this step of cnn worked for ten minutes, with 450 MiB."""
    for day in days_ago:
        start = round(time.time() * 1e6) - day * DAY - 700 * SECOND
        own = {"team": "kubeflow", "namespace": "kubeflow", "run_id": f"run-{day}", "step": step}
        rows = life(f"{step}-{day}", start, start + 625 * SECOND, worker="123", **own | fields)
        used = {"cpu_used_core_seconds": 200.0, "memory_peak_bytes": 450 * MIB}
        rows[-1] = replace(rows[-1], **used)
        meter.ledger.put_new_runs([run(f"run-{day}", team="kubeflow")])
        meter.ledger.write_usage(rows)


def resources(replay: Replay) -> dict[str, Any]:
    """Of the newest upload, by step."""
    text = replay.uploads[-1]
    ir = next(yaml.safe_load_all(text[text.index(b"# PIPELINE") : text.rindex(b"\r\n--")]))
    executors = ir["deploymentSpec"]["executors"]
    return {
        name.removeprefix("exec-"): executor["container"]["resources"]
        for name, executor in executors.items()
    }


def asked(given: dict[str, Any]) -> tuple[str, str, str, str]:
    return tuple(
        given[f"resource{name}"] for name in ("CpuRequest", "CpuLimit", "MemoryRequest",
                                              "MemoryLimit")
    )  # fmt: skip


def test_past_runs_size_a_step_and_submit_says_why_in_one_line(
    run_tally: Any, replay: Replay, meter: Meter
) -> None:
    lived(meter, "train", 1, 2, 3)
    lived(meter, "bill", 1, 2)  # too few
    done = run_tally("submit", "cnn")
    assert done.code == 0, done.err
    given = resources(replay)
    assert asked(given["train"]) == ("400m", "1", "576Mi", "1024Mi")
    assert asked(given["bill"]) == ("100m", "500m", "512Mi", "512Mi")
    (line,) = (line for line in done.out.splitlines() if "past" in line)
    assert line == (
        "asked for by past runs: train 400m CPU and 576 MiB (usual 500m CPU and 1024 MiB; 3 past "
        "lives used up to 0.34 cores and 455 MiB in 90% of them)"
    )
    lived(meter, "train", 4, 5)
    assert run_tally("submit", "cnn").code == 0
    assert len(replay.versions) == 1  # two more such nights are the same bytes


def test_a_step_that_was_killed_for_its_memory_asks_for_more_the_next_time(
    run_tally: Any, replay: Replay, meter: Meter
) -> None:
    lived(meter, "evaluate", 1)
    facts = {"pod_uid": "evaluate-1", "memory_limit_bytes": 2048 * MIB}
    at = round(time.time() * 1e6)
    killed = RunEvent(
        run_id="run-1", namespace="kubeflow", at_microseconds=at, kind="oom", step="evaluate",
        facts=facts,
    )  # fmt: skip
    meter.ledger.write_events([killed])
    done = run_tally("submit", "cnn")
    assert asked(resources(replay)["evaluate"]) == ("500m", "2", "3072Mi", "3072Mi")
    assert "evaluate 500m CPU and 3072 MiB (usual 500m CPU and 2048 MiB; one was killed" in done.out


def test_a_meter_that_does_not_answer_leaves_the_usual_and_is_named(
    run_tally: Any, replay: Replay, meter: Meter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sizing, "ASKING_SECONDS", 0.3)
    monkeypatch.setenv("TALLY_METER_URL", "http://127.0.0.1:9")
    done = run_tally("submit", "cnn")
    assert done.code == 0, done.err
    assert asked(resources(replay)["train"]) == ("500m", "1", "1Gi", "1Gi")
    assert "steps ask for the usual CPU and memory: the meter: expected an answer of" in done.out
