"""A run's bill, wherever it is kept: in this machine's ledger, else with the cluster's meter."""

from tally.costing.bill import Bill
from tally.costing.ledger import Ledger
from tally.errors import SpecError
from tally.meterclient import MeterClient
from tally.runs.listing import find


def bill_of(ledger: Ledger, run: str, namespace: str = "") -> Bill:
    """The bill of the run that `run` names, of this namespace where one is given.

    Raises:
        SpecError: none or several in the ledger, nor, where TALLY_METER_URL is set, with the meter;
            the price of a machine type that it used is not known.
        RunError: the meter does not answer.
    """
    try:
        record = find(ledger, run, namespace)
    except SpecError:
        meter = MeterClient.from_environment()
        if meter is None:
            raise
        return meter.bill(meter.find(run, namespace), namespace)
    return ledger.bill(record.id, record.namespace)
