"""What a training that is over tells the next quote: how long its steps took."""

from tally import events
from tally.costing.ledger import open_ledger
from tally.data.format import Dataset
from tally.gang.messages import Finished
from tally.spec import Spec
from tally.steps import profiles
from tally.steps.step import Step


def remember(here: Step, spec: Spec, dataset: Dataset, finished: Finished) -> None:
    """Keep the pace of a training that had one life, one size and one batch to its end.

    On this machine in the ledger; from a pod to the meter, as an event.

    Args:
        here: the train step.
        spec: with the workers that it began with.
        dataset: that it trained on.
        finished: as its worker said.
    """
    formed = [
        event
        for event in events.read(here.folder)
        if event["event"] == "generation" and event["attempt"] == here.attempt
    ]
    one = here.attempt == 1 and len(formed) == 1 and spec.batch == "fixed"
    if not one or finished.seconds <= 0:
        return
    workers = len(formed[0]["workers"])
    training = profiles.Training(spec=spec, dataset=dataset, gang=profiles.is_gang(spec))
    found = profiles.of_run(
        training,
        run_id=here.run_id,
        pipeline=here.pipeline,
        workers=workers,
        seconds=finished.seconds,
        examples=finished.examples_trained,
    )
    if not here.run.on_cluster:
        open_ledger().put_profiles([found])
    here.event(
        "profile",
        machine_type=spec.machine_type,
        workers=workers,
        step_seconds=found.step_seconds,
        batch_size=spec.batch_size,
        deterministic=spec.deterministic,
        collective=spec.collective,
        **found.document,
    )
