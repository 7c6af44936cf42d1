"""Who pays, and the export: out of a real ledger with rows of one machine and of a cluster."""

import csv
import io
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from helpers.command import tally
from helpers.costing.cluster_rows import NOVEMBER_END, node, pod
from helpers.costing.histories import HOUR, record, row
from tally.costing import charged as costing
from tally.costing.chargeback import chargeback, total
from tally.costing.days import Charged, window
from tally.costing.ledger import Ledger, open_ledger
from tally.errors import SpecError
from tally.runs.charged import UNLISTED, write_focus

pytestmark = pytest.mark.exact

DAY = 24 * HOUR
RUN, LOCAL = "0199a3c0-run", "0199a3c0-local"
NODE_HOURS = 80


@pytest.fixture
def ledger(tally_home: Path) -> Iterator[Ledger]:
    """Four days around the end of November: a node, on it two pods of a run and one of the system;
    beside it a run on one machine."""
    begin = NOVEMBER_END - 40 * HOUR
    with open_ledger() as opened:
        opened.put_run(record(RUN, engine="cluster", team="team-a"))
        opened.put_run(record(LOCAL))
        opened.write_nodes([node(begin, begin + NODE_HOURS * HOUR, software_usd_per_hour=0.03)])
        whole = {"run_id": RUN, "software_usd_per_hour": 0.03}
        opened.write_usage(
            [
                pod(begin, begin + 50 * HOUR + 1234567, **whole),
                pod(begin + HOUR, begin + 70 * HOUR, pod_uid="2", worker="1", **whole),
                pod(
                    begin, begin + 80 * HOUR, pod_uid="3", run_id="", pipeline="", step="",
                    worker="", team="kube-system", namespace="kube-system",
                    cpu_request_cores=0.1, software_usd_per_hour=0.03,
                ),
                row(
                    NOVEMBER_END - HOUR, NOVEMBER_END + HOUR, run_id=LOCAL, catalogue_version="1"
                ),
            ]
        )  # fmt: skip
        yield opened


def charged(ledger: Ledger, since: str = "", until: str = "", run_id: str = "") -> Charged:
    record = ledger.run(run_id) if run_id else None
    return costing.charged(ledger, *window(since, until), record and record.key)


def invoice(usd_per_hour: str) -> Decimal:
    return Decimal(usd_per_hour) * NODE_HOURS


def test_all_lines_together_are_the_invoice(ledger: Ledger) -> None:
    found = charged(ledger)
    whole = total(chargeback(found.charges, found.accounts, ("team", "month")))
    assert whole.hours == NODE_HOURS + 2
    assert whole.hardware_usd == pytest.approx(
        invoice("0.4") + Decimal("0.2"), abs=Decimal("1e-12")
    )
    assert whole.software_usd == pytest.approx(invoice("0.03"), abs=Decimal("1e-12"))
    for by in (("team",), ("day", "phase"), ("run", "step", "machine_type")):
        other = total(chargeback(found.charges, found.accounts, by))
        assert (other.hardware_usd, other.software_usd) == (whole.hardware_usd, whole.software_usd)


def test_a_month_costs_the_same_alone_and_among_others(ledger: Ledger) -> None:
    both = charged(ledger)
    lines = chargeback(both.charges, both.accounts, ("month", "team"))
    november = charged(ledger, "2026-11-01", "2026-12-01")
    alone = chargeback(november.charges, november.accounts, ("month", "team"))
    assert alone == [line for line in lines if line.key[0] == "2026-11"]
    assert {line.key[0] for line in lines} == {"2026-11", "2026-12"}
    assert total(alone).hours == 40 + 1


def test_a_runs_lines_are_its_bill(ledger: Ledger) -> None:
    for run in (RUN, LOCAL):
        found = charged(ledger, run_id=run)
        whole = total(chargeback(found.charges, found.accounts, ("month", "phase")))
        bill = ledger.bill(run)
        # each day's shares are whole microseconds
        assert whole.hardware_usd == pytest.approx(bill.hardware_usd, abs=Decimal("1e-8"))
        assert whole.software_usd == pytest.approx(bill.software_usd, abs=Decimal("1e-8"))


def test_the_command_groups_prints_and_reads_the_environment(ledger: Ledger) -> None:
    told = json.loads(tally("bill", "--by", "team,month", "--json").stdout)
    assert told["by"] == ["team", "month"]
    assert told["total"]["hours"] == NODE_HOURS + 2
    environment = {"BY": "team", "CSV": "1", "SINCE": "2026-11-01", "UNTIL": "2026-12-01"}
    rows = list(csv.DictReader(io.StringIO(tally("bill", **environment).stdout)))
    assert [(row["team"], row["kind"]) for row in rows] == [
        ("", "idle"),
        ("", "overhead"),
        ("kube-system", "workload"),
        ("local", "workload"),
        ("team-a", "workload"),
    ]
    assert sum(Decimal(row["hours"]) for row in rows) == 41
    own = tally("bill", RUN=RUN, BY="step,phase").stdout
    assert "train" in own
    assert "kind" not in own


def test_the_export_adds_up_to_the_chargeback(ledger: Ledger, tmp_path: Path) -> None:
    out = tmp_path / "focus.csv"
    done = tally("export", OUT=str(out), SINCE="2026-11-30")
    assert done.returncode == 0, done.stderr
    with open(out, newline="") as file:
        rows = list(csv.DictReader(file))
    assert done.stdout == f"{out}: {len(rows)} rows\n"
    assert done.stderr == f"{UNLISTED}\n"  # what an older Tally wrote
    found = charged(ledger, "2026-11-30")
    whole = total(chargeback(found.charges, found.accounts, ("team",)))
    assert sum(Decimal(row["BilledCost"]) for row in rows) == whole.total_usd
    assert min(row["ChargePeriodStart"] for row in rows) == "2026-11-30T00:00:00Z"


def test_the_export_has_the_list_prices_of_when_it_ran(tally_home: Path, tmp_path: Path) -> None:
    begin, listed = NOVEMBER_END - 4 * HOUR, {"list_price_usd_per_hour": 0.8}
    with open_ledger() as opened:
        opened.put_run(record(RUN, engine="cluster", team="team-a"))
        opened.write_nodes([node(begin, begin + 2 * HOUR, **listed)])
        opened.write_usage([pod(begin, begin + HOUR, **listed)])
    out = tmp_path / "focus.csv"
    done = tally("export", OUT=str(out))
    assert (done.returncode, done.stderr) == (0, "")
    with open(out, newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["ListUnitPrice"] for row in rows} == {"0.8"}
    billed = sum(Decimal(row["BilledCost"]) for row in rows)
    whole = sum(Decimal(row["ListCost"]) for row in rows)
    assert whole == 2 * billed == pytest.approx(Decimal("1.6"), abs=Decimal("1e-12"))


@pytest.mark.parametrize(
    ("since", "until", "says"),
    [
        pytest.param("2027-01-01", "", "expected charges from 2027-01-01 to now", id="too late"),
        pytest.param("", "2026-01-01", "expected charges from the first day", id="too early"),
        pytest.param("2026-12-01", "2026-12-01", "expected a day after SINCE", id="no time"),
        pytest.param("November", "", 'SINCE: .*got "November"', id="no day"),
        pytest.param("", "2026-11-31", 'UNTIL: .*got "2026-11-31"', id="no such day"),
    ],
)
def test_a_period_without_charges_is_refused_and_the_file_stays(
    ledger: Ledger, tmp_path: Path, since: str, until: str, says: str
) -> None:
    out = tmp_path / "focus.csv"
    out.write_text("before")
    with pytest.raises(SpecError, match=says):
        write_focus(charged(ledger, since, until), since, until, out)
    assert out.read_text() == "before"
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["focus.csv"]


def test_what_has_no_price_is_refused_where_it_was_used(ledger: Ledger) -> None:
    begin = NOVEMBER_END + 10 * DAY
    nothing = {"machine_type": "odd-8", "price_usd_per_hour": 0.0, "catalogue_version": ""}
    ledger.write_usage([pod(begin, begin + HOUR, pod_uid="4", node_uid="n", **nothing)])
    ledger.write_nodes([node(begin, begin + HOUR, node_uid="n", **nothing)])
    with pytest.raises(SpecError, match=r"machine_types\.odd-8"):
        charged(ledger)
    assert charged(ledger, until="2026-12-05").charges
