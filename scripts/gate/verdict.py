"""Whether a gate is green, from what became of its stages and tests. Pure."""

import datetime
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from gate.outcomes import Outcome

MOST_FLAKY = 2
MOST_IN_QUARANTINE = 10
QUARANTINE_DAYS = 14  # asked of `make test-full` alone


@dataclass
class Result:
    """A stage that has ended.

    Attributes:
        code: its exit status; None where its deadline ended it.
        advisory: red here is the next thing to mend, and no failure.
    """

    stage: str
    seconds: float
    code: int | None
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    advisory: bool = False
    tail: Sequence[str] = ()

    def having(self, *states: str) -> list[Outcome]:
        """Its tests that are in one of these states."""
        return [one for one in self.known if one.state in states]

    @property
    def known(self) -> list[Outcome]:
        """All of its tests."""
        return list(self.outcomes.values())

    @property
    def counted(self) -> list[Outcome]:
        """Failures that are not in quarantine."""
        return [one for one in self.having("failed") if not one.quarantine]

    @property
    def red(self) -> list[Outcome]:
        """Failures that stay failures."""
        return [one for one in self.counted if not one.again]

    @property
    def is_broken(self) -> bool:
        """It did not come to its end, or failed with no test to show for it."""
        if self.code is None:
            return True
        return self.code != 0 and not self.having("failed")


def to_rerun(results: Iterable[Result]) -> list[tuple[Result, Outcome]]:
    """Failures that one more run, alone, may take back."""
    return [
        (result, one)
        for result in results
        if not result.advisory
        for one in result.counted
        if not one.exact and "::" in one.test
    ]


def complaints(results: Sequence[Result], today: datetime.date, is_full: bool) -> list[str]:
    """Why the gate is red; empty where it is green."""
    found = []
    for result in results:
        if result.advisory:
            continue
        if result.code is None:
            found.append(f"{result.stage}: ended at its deadline after {result.seconds:.0f} s")
        elif result.is_broken:
            found.append(f"{result.stage}: exit status {result.code}")
        if result.red:
            found.append(f"{result.stage}: {len(result.red)} failed")
    counted = [result for result in results if not result.advisory]
    flaky = [one for result in counted for one in result.counted if one.again]
    if len(flaky) > MOST_FLAKY:
        found.append(f"expected at most {MOST_FLAKY} flaky tests, got {len(flaky)}; mend them")
    held = {one.test: one for result in counted for one in result.known if one.quarantine}
    if len(held) > MOST_IN_QUARANTINE:
        found.append(
            f"expected at most {MOST_IN_QUARANTINE} tests in quarantine, got {len(held)}; mend some"
        )
    for one in held.values():
        days = (today - datetime.date.fromisoformat(one.quarantine["since"])).days
        if is_full and days > QUARANTINE_DAYS:
            found.append(f"{one.test}: in quarantine for {days} days; mend it or delete it")
    return found
