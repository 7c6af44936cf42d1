"""The last screen: a table of stages, each failed test with its end, one line of counts. Pure."""

from collections.abc import Sequence

from gate.outcomes import Outcome
from gate.verdict import Result

LAST_LINES = 30
MOST_UNRUN = 40


def screen(results: Sequence[Result], complaints: Sequence[str], notes: Sequence[str] = ()) -> str:
    """What whoever looks last sees.

    Args:
        results: of the stages, in their order.
        complaints: why the gate is red.
        notes: lines to stand above the table.
    """
    lines: list[str] = []
    for result in results:
        if result.is_broken:
            lines += [f"--- {result.stage}: the last lines", *result.tail[-LAST_LINES:]]
        lines += _unrun(result)
        for one in result.having("failed"):
            lines += [f"--- {_word(result, one)} {one.test} ({result.stage}, {one.seconds:.0f} s)"]
            lines += one.text.splitlines()[-LAST_LINES:]
    lines += ["", *notes, f"{'stage':<28}{'seconds':>8}  result"]
    for result in results:
        lines.append(f"{result.stage:<28}{result.seconds:>8.0f}  {_summary(result)}")
        for one in result.having("failed"):
            lines.append(f"  {_word(result, one)} {one.test}")
    lines += [f"gate: {line}" for line in complaints] or ["gate: green"]
    counted = [result for result in results if not result.advisory]
    passed = sum(len(result.having("passed")) + _flaky(result) for result in counted)
    failed = sum(len(result.red) + result.is_broken for result in counted)
    return "\n".join([*lines, f"{passed} passed, {failed or bool(complaints):d} failed"])


def _flaky(result: Result) -> int:
    return sum(1 for one in result.counted if one.again)


def _word(result: Result, one: Outcome) -> str:
    if one.quarantine:
        return f"QUARANTINED since {one.quarantine['since']}"
    if one.again:
        return "FLAKY"
    return "MEND NEXT" if result.advisory else "FAILED"


def _summary(result: Result) -> str:
    if result.code is None and not result.advisory:
        end = "ended at its deadline; "
    elif result.code is None:
        end = "its time was over; "
    elif result.is_broken:
        end = f"exit status {result.code}; "
    else:
        end = ""
    parts = [
        f"{count} {word}"
        for count, word in (
            (len(result.having("passed")), "passed"),
            (len(result.red), "failed"),
            (_flaky(result), "flaky"),
            (len(result.having("skipped")), "skipped"),
            (len(result.having("running", "unrun")), "not run"),
        )
        if count
    ]
    return (end + ", ".join(parts)).rstrip("; ") or "ok"


def _unrun(result: Result) -> list[str]:
    if result.advisory or not (missing := result.having("running", "unrun")):
        return []
    lines = [f"--- {result.stage}: {len(missing)} tests did not run to their end"]
    lines += [f"{one.state}  {one.test}" for one in missing if one.state == "running"]
    waiting = [f"{one.state}    {one.test}" for one in missing if one.state == "unrun"]
    more = [f"and {len(waiting) - MOST_UNRUN} more"] if len(waiting) > MOST_UNRUN else []
    return lines + waiting[:MOST_UNRUN] + more
