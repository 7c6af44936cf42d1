"""What each command says of a run's money, held against the others."""

import csv
import io
import json
import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path

import pytest


def commands_agree(
    does: Callable[..., str], run_id: str, other: str, steps: Sequence[str], folder: Path
) -> None:
    """bill in its forms, export, report, compare and logs, of one run that has ended.

    Args:
        does: what `tally` prints for these words.
        other: another run, to compare with.
        steps: whose logs there are.
        folder: for files.
    """
    bill = json.loads(does("bill", run_id, "--json"))
    (total,) = re.findall(r"total[ │]+\$([\d.,]+)", does("bill", run_id))
    assert float(total.replace(",", "")) == pytest.approx(bill["total_usd"], rel=0.01, abs=0.005)
    hardware, software = (pytest.approx(bill[f"{what}_usd"]) for what in ("hardware", "software"))
    lines = rows_of(does("bill", run_id, "--csv"))
    billed = {(line["step"], line["phase"]): line["hardware_usd"] for line in bill["lines"]}
    assert {(row["step"], row["phase"]) for row in lines} == set(billed)
    for row in lines:
        assert float(row["hardware_usd"]) == pytest.approx(billed[row["step"], row["phase"]])
    assert (total_of(lines, "hardware_usd"), total_of(lines, "software_usd")) == (
        hardware, software,
    )  # fmt: skip
    (team,) = rows_of(does("bill", run_id, "--by", "team", "--csv"))
    assert team["kind"] == "workload" and float(team["hardware_usd"]) == hardware
    everybody = rows_of(does("bill", "--by", "team", "--csv"))
    (whole,) = (
        row for row in everybody if (row["team"], row["kind"]) == (team["team"], "workload")
    )
    assert Decimal(whole["hardware_usd"]) >= Decimal(team["hardware_usd"]) > 0
    does("export", "--out", str(folder / "focus.csv"))
    focus = rows_of((folder / "focus.csv").read_text())
    own = [row for row in focus if json.loads(row["Tags"] or "{}").get("tally.dev/run") == run_id]
    assert total_of(own, "BilledCost") == pytest.approx(bill["hardware_usd"] + bill["software_usd"])
    does("report", run_id, "--out", str(folder / "page.html"))
    page = (folder / "page.html").read_text()
    assert run_id in page and f"${total}" in page
    compared = json.loads(does("compare", f"{run_id},{other}", "--json"))["runs"]
    assert [one["id"] for one in compared] == [run_id, other]
    assert compared[0]["bill"]["total_usd"] == bill["total_usd"]
    titles = re.findall(r"^==> (\S+).* <==$", does("logs", run_id), re.MULTILINE)
    assert set(titles) == set(steps), titles


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def total_of(rows: Sequence[dict[str, str]], column: str) -> float:
    return float(sum(Decimal(row[column]) for row in rows))
