"""What this run has spent so far: out of the ledger on one machine, counted and asked of the meter
on a cluster."""

import contextlib
import threading
from collections.abc import Callable, Mapping
from typing import Protocol

from tally import clock, events, limits
from tally.costing.ledger import open_ledger
from tally.costing.spending import Limits, Spending
from tally.errors import SpecError, TallyError
from tally.machines.catalogue import machine
from tally.spec import Spec
from tally.steps import kept_spending
from tally.steps.kept_spending import KeptSpending
from tally.steps.step import Step

LOOK_SECONDS = 2.0
KEEP_SECONDS = 30.0
LOCAL_ENDING_SECONDS = 2.5  # the workers' end, Kubeflow's runner, the bill
POD_ENDING_SECONDS = 6.0  # the workers' end, and their pods'


class Account(Protocol):
    """Where what a run has spent is known."""

    begun_microseconds: int
    ending_seconds: float

    def read(self) -> Spending:
        """As of now; may take a while.

        Raises:
            TallyError: it is not known now.
        """

    def held(self, workers: Mapping[str, int]) -> None:
        """So many workers run from now on, by machine type; "" is none of the catalogue's."""

    def close(self) -> None:
        """Leave for the next attempt what was spent."""


def account_of(here: Step, asked: Spec, in_pods: bool) -> Account:
    """Of this run.

    Args:
        here: the train step.
        asked: what the user did.
        in_pods: whether the workers are pods.

    Raises:
        SpecError: a budget is to be kept, and nothing says what the workers cost.
    """
    return PodAccount(here, asked) if in_pods else MachineAccount(here)


def limits_of(asked: Spec, account: Account) -> Limits:
    """What the user set, in moments of this run."""
    until = limits.moment(asked.deadline)
    begun = account.begun_microseconds
    return Limits(
        budget_usd=asked.limit_usd,
        deadline_microseconds=begun + round(until.seconds_left(begun, begun) * 1e6)
        if until
        else None,
        ending_seconds=account.ending_seconds,
    )


class MachineAccount:
    """The ledger of this machine: it holds all attempts, and every step while it runs."""

    def __init__(self, here: Step) -> None:
        """Of the run of this step."""
        self._here, self._ledger, price = here, open_ledger(), machine("local")
        run = self._ledger.run(here.run_id)
        self.begun_microseconds = run.created_at_microseconds if run else clock.now_microseconds()
        value = run.value_of_hour_usd if run else price.value_of_hour_usd
        self.ending_seconds = _ending_seconds(here)
        self._usd_per_hour = price.price_usd_per_hour + price.software_usd_per_hour + value

    def read(self) -> Spending:
        """As Account; where no other run shares the machine it goes on exactly so."""
        now = clock.now_microseconds()
        self._here.recorder.flush()
        usd = float(self._ledger.bill(self._here.run_id).total_usd)
        return Spending(usd=usd, usd_per_hour=self._usd_per_hour, at_microseconds=now)

    def held(self, workers: Mapping[str, int]) -> None:
        """As Account: workers share the machine, whose price is the same for any number."""

    def close(self) -> None:
        """As Account: the ledger has it."""


def _ending_seconds(here: Step) -> float:
    """From the workers' end to the end of the bill, from how long it took to come to this step."""
    at = {
        (event["step"], event["event"]): event["at_microseconds"]
        for event in events.read(here.folder)
        if event["attempt"] == here.attempt
    }
    before, began = at.get(("prepare", "step_ended")), at.get((here.name, "step_started"))
    if before is None or began is None:
        return LOCAL_ENDING_SECONDS
    return 0.7 + 1.5 * float(began - before) / 1e6


class PodAccount:
    """Workers as pods: the price of their machine types times how long they run, and the value of
    time; where there is a meter its bill of the run, if that is more, since it knows all pods."""

    ending_seconds = POD_ENDING_SECONDS

    def __init__(self, here: Step, asked: Spec) -> None:
        """Of the run of this step.

        Raises:
            SpecError: a budget is to be kept, and nothing says what the workers cost.
        """
        self._here, self._lock = here, threading.Lock()
        if asked.limit_usd is not None and not asked.machine_type and here.outbox is None:
            raise SpecError(
                "budget_usd: expected a machine_type, whose price the catalogue has, or a meter "
                '(TALLY_METER_URL) to keep a budget by, got neither; pass SET="machine_type=…"'
            )
        self._value_usd_per_hour = machine("local").value_of_hour_usd
        kept = kept_spending.read(here.run_id)
        now = clock.now_microseconds()
        self.begun_microseconds = kept.begun_microseconds if kept else now
        self._spent = Spending(
            usd=kept.usd if kept else 0.0,
            usd_per_hour=self._value_usd_per_hour,
            at_microseconds=now,
        )
        self._kept_at = 0
        self._metered_usd_per_hour = 0.0
        self._metered: tuple[int, float] | None = None

    def read(self) -> Spending:
        """As Account; every so often it is kept in the store, for the attempt after this one."""
        metered = self._ask_meter()
        now = clock.now_microseconds()
        with self._lock:
            self._spent = Spending(
                usd=max(self._spent.usd_at(now), metered),
                usd_per_hour=self._spent.usd_per_hour,
                at_microseconds=now,
            )
            spent = self._spent
        if now - self._kept_at > KEEP_SECONDS * 1e6:
            self.close()
        rate = max(spent.usd_per_hour, self._metered_usd_per_hour)
        return Spending(usd=spent.usd, usd_per_hour=rate, at_microseconds=now)

    def close(self) -> None:
        """As Account; in the store.

        Raises:
            RunError: it does not take it.
        """
        self._kept_at = clock.now_microseconds()
        kept_spending.write(
            self._here.run_id,
            KeptSpending(self.begun_microseconds, self._spent.usd_at(self._kept_at)),
        )

    def held(self, workers: Mapping[str, int]) -> None:
        """As Account."""
        rate = self._value_usd_per_hour
        for name, count in workers.items():
            if name:
                kind = machine(name)
                rate += count * (kind.price_usd_per_hour + kind.software_usd_per_hour)
        now = clock.now_microseconds()
        with self._lock:
            usd = self._spent.usd_at(now)
            self._spent = Spending(usd=usd, usd_per_hour=rate, at_microseconds=now)

    def _ask_meter(self) -> float:
        """The run's bill so far; 0 without a meter, or where it does not answer now."""
        if self._here.outbox is None:
            return 0.0
        from tally.steps.metering import required_client

        with contextlib.suppress(TallyError):
            usd = float(required_client().bill(self._here.run_id).total_usd)
            now, before = clock.now_microseconds(), self._metered
            if before is None or now - before[0] > KEEP_SECONDS * 1e6:
                if before is not None:
                    hours = (now - before[0]) / 3.6e9
                    self._metered_usd_per_hour = max(0.0, usd - before[1]) / hours
                self._metered = now, usd
            return usd
        return 0.0


class Looking:
    """Reads an account again and again, in a thread of its own: a ledger may be slow."""

    def __init__(self, account: Account, told: Callable[[Spending], None]) -> None:
        """Begins at once.

        Args:
            account: of the run.
            told: of every reading.
        """
        self._account, self._told, self._over = account, told, threading.Event()
        threading.Thread(target=self._look, name="spending", daemon=True).start()

    def stop(self) -> None:
        """Read no more, and leave what was spent."""
        self._over.set()
        with contextlib.suppress(TallyError):
            self._account.close()

    def _look(self) -> None:
        while not self._over.wait(LOOK_SECONDS):
            with contextlib.suppress(TallyError):  # what was read last holds, and goes on
                self._told(self._account.read())
