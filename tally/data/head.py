"""The end of a dataset's models."""

from tally.data.content import Meta
from tally.tasks import registry
from tally.tasks.task import Head


def head(meta: Meta) -> Head:
    """What its task asks for; to know it no file of a user's is run."""
    return Head(*meta.ending) if meta.ending else registry.named(meta.task).head(meta.facts)
