"""What a gang's workers say of their training, written into the run's events."""

from dataclasses import asdict

from tally.gang import messages as say
from tally.steps.step import Step


def write(here: Step, message: say.Message) -> None:
    """One message as an event; those that end the training are the conductor's."""
    match message:
        case say.Progress():
            here.event(
                "progress",
                done=message.done_examples,
                total=message.total_examples,
                unit="examples",
                epoch=message.epoch,
                loss=message.loss,
                **message.figures,
                examples_per_second=message.examples_per_second,
            )
        case say.Started():
            here.event("started", **asdict(message))
        case say.EpochEnd():
            here.event("epoch", **message.as_json())
        case say.Saved():
            here.event("checkpoint", **asdict(message))
        case say.Ready():
            here.event("ready", **asdict(message))
        case say.Note():
            note(here, message.message)


def note(here: Step, text: str) -> None:
    """Something that the user should read, but that ends nothing."""
    here.event("note", message=text)
