"""`make undeploy`, the last of the tests of what is deployed."""

import pytest

from helpers.cluster.deploying import LEDGER, RUNS, Deployed, kubectl, left, undeploy


@pytest.mark.smoke
def test_undeploy_leaves_the_ledgers_claim_and_nothing_else(deployed: Deployed) -> None:
    undeploy("local")
    assert left() == LEDGER
    assert kubectl("get", "namespace", RUNS, "--ignore-not-found") == ""
    undeploy("local")
    assert left() == LEDGER
