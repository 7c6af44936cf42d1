"""How far quotes are off: real runs on this machine, each quoted right before it begins.

    python -m bench.quote [--quick] [--check] [--rounds N] [--home FOLDER]

CNN and LSTM at several sizes of data, batches and numbers of workers. Each case is first profiled
as `tally quote` does it, in a ledger that has one run of each pipeline before; then all cases are
submitted round by round, so that runs of one case lie minutes apart. A run's quote is the one that
submit made and printed; its bill is `tally bill`'s. The spread of identical runs is the mean of
|x / median - 1| over the runs of each case.

Targets: mean absolute error of time and of cost at most 7 %, or 1.5 × the spread where that is
larger, never above 12 %; 80 % intervals hold 70-95 % of the bills, their median half-width is at
most 20 %; a quote takes 20 s at most. --quick runs three cases twice.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

CASES = (
    ("cnn", {"epochs": 1, "batch_size": 32}),
    ("cnn", {"epochs": 3, "batch_size": 128}),
    ("cnn", {"epochs": 8, "batch_size": 64, "augment": 5}),
    ("cnn", {"epochs": 2, "batch_size": 256, "workers": 2}),
    ("rnn", {"epochs": 1, "batch_size": 32}),
    ("rnn", {"epochs": 1, "batch_size": 256}),
    ("rnn", {"epochs": 5, "batch_size": 64, "augment": 5}),
    ("rnn", {"epochs": 1, "batch_size": 256, "workers": 2}),
)
ROUNDS = 5
ERROR, SPREADS, NEVER = 0.07, 1.5, 0.12
COVER, HALF_WIDTH, QUOTE_SECONDS = (0.70, 0.95), 0.20, 20.0
Settings = dict[str, int]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--home", help="a folder whose ledger is gone on with")
    arguments = parser.parse_args()
    cases = (CASES[0], CASES[3], CASES[5]) if arguments.quick else CASES
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["TALLY_HOME"] = arguments.home or scratch
        for pipeline in dict.fromkeys(pipeline for pipeline, _ in cases):
            submit(pipeline, {"epochs": 1})
        quoting = [quoted(*case) for case in cases]
        rows = []
        for number in range(2 if arguments.quick else arguments.rounds):
            for index, case in enumerate(cases):
                rows.append({"case": index, "round": number, **submit(*case)})
                print(line(case, rows[-1]), flush=True)
    figures = summary(rows, quoting)
    report(figures)
    print(json.dumps({"bench": "quote", **figures, "rows": rows}))
    return 1 if arguments.check and not figures["met"] else 0


def tally(*arguments: str) -> dict[str, Any]:
    """What a command says with --json."""
    done = subprocess.run(
        [sys.executable, "-m", "tally", *arguments, "--json"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)}: {done.stderr[-2000:]}")
    return json.loads(done.stdout)


def setting(settings: Settings) -> list[str]:
    return [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]


def quoted(pipeline: str, settings: Settings) -> float:
    """Seconds that a quote takes of a training that is measured for it."""
    began = time.monotonic()
    tally("quote", pipeline, "--again", *setting(settings))
    return time.monotonic() - began


def submit(pipeline: str, settings: Settings) -> dict[str, Any]:
    """A run, with its quote and its bill."""
    done = tally("submit", pipeline, *setting(settings))
    scores = tally("quote", "--accuracy")["runs"]
    score = next(one for one in scores if one["run_id"] == done["id"])
    names = ("quoted_seconds", "low_seconds", "high_seconds", "billed_seconds", "basis", "width",
             "quoted_usd", "low_usd", "high_usd", "billed_usd")  # fmt: skip
    return {name: score[name] for name in names}


def line(case: tuple[str, Settings], row: dict[str, Any]) -> str:
    """One run in words."""
    pipeline, settings = case
    size = " ".join(f"{name}={value}" for name, value in settings.items())
    off = row["billed_seconds"] / row["quoted_seconds"] - 1
    inside = row["low_seconds"] <= row["billed_seconds"] <= row["high_seconds"]
    return (
        f"{row['round'] + 1} {pipeline} {size:40} quoted {row['quoted_seconds']:5.1f} s "
        f"({row['low_seconds']:.1f}–{row['high_seconds']:.1f}), "
        f"took {row['billed_seconds']:5.1f} s {100 * off:+5.1f} % {'' if inside else 'outside'}"
    )


def summary(rows: list[dict[str, Any]], quoting: list[float]) -> dict[str, Any]:
    """The figures, and whether they meet the targets."""
    found: dict[str, Any] = {"runs": len(rows), "quote_seconds": max(quoting)}
    for unit in ("seconds", "usd"):
        found[f"error_{unit}"] = statistics.fmean(
            abs(row[f"billed_{unit}"] / row[f"quoted_{unit}"] - 1) for row in rows
        )
        found[f"cover_{unit}"] = statistics.fmean(
            row[f"low_{unit}"] <= row[f"billed_{unit}"] <= row[f"high_{unit}"] for row in rows
        )
        found[f"half_width_{unit}"] = statistics.median(
            (row[f"high_{unit}"] - row[f"low_{unit}"]) / 2 / row[f"quoted_{unit}"] for row in rows
        )
        found[f"spread_{unit}"] = statistics.fmean(_spreads(rows, f"billed_{unit}"))
        allowed = min(NEVER, max(ERROR, SPREADS * found[f"spread_{unit}"]))
        found[f"allowed_{unit}"] = allowed
        found[f"met_{unit}"] = (
            found[f"error_{unit}"] <= allowed
            and COVER[0] <= found[f"cover_{unit}"] <= COVER[1]
            and found[f"half_width_{unit}"] <= HALF_WIDTH
        )
    found["met"] = (
        found["met_seconds"] and found["met_usd"] and found["quote_seconds"] <= QUOTE_SECONDS
    )
    return found


def _spreads(rows: list[dict[str, Any]], name: str) -> list[float]:
    """Of each case's identical runs, the mean of |x / median - 1|."""
    cases: dict[int, list[float]] = {}
    for row in rows:
        cases.setdefault(row["case"], []).append(row[name])
    found = []
    for values in cases.values():
        middle = statistics.median(values)
        found.append(statistics.fmean(abs(value / middle - 1) for value in values))
    return found


def report(figures: dict[str, Any]) -> None:
    print(f"\n{'':28}{'time':>10}{'cost':>10}   target")
    for name, words, target in (
        ("error", "mean absolute error", "allowed"),
        ("allowed", "  allowed", "7 %, or 1.5 × spread up to 12 %"),
        ("spread", "spread of identical runs", ""),
        ("cover", "inside the 80 % interval", "70–95 %"),
        ("half_width", "median half-width", "20 %"),
    ):
        both = [f"{100 * figures[f'{name}_{unit}']:.1f} %" for unit in ("seconds", "usd")]
        print(f"{words:28}{both[0]:>10}{both[1]:>10}   {target}")
    print(f"{'longest quote':28}{figures['quote_seconds']:>8.1f} s{'':>10}   20 s")


if __name__ == "__main__":
    sys.exit(main())
