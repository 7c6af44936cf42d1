"""The parameters of a run as a type."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel

from tally import limits
from tally.parameters import Parameter, TrainingParameters


class Spec(BaseModel, TrainingParameters, frozen=True, extra="forbid"):
    """The parameters of a run. Every one has a default, a unit and bounds."""

    dataset: Annotated[
        str,
        Parameter(
            "a packaged dataset, a file or folder, gs://…, or a Python file with dataset()",
            "name, path or URL",
            min_length=1,
        ),
    ] = "digits"
    augment: Annotated[
        int,
        Parameter(
            "training split enlarged so many times by small rotations and shifts; "
            "0 is the dataset's own default, 1 is off",
            "times",
            ge=0,
            le=1000,
        ),
    ] = 0
    image_size_pixels: Annotated[
        int,
        Parameter(
            "side that pictures of a folder are brought to; 0 is the median of train's sides, at "
            "most 64",
            "pixels",
            ge=0,
            le=1024,
        ),
    ] = 0
    resize: Annotated[
        Literal["fit", "crop", "stretch"],
        Parameter(
            "how a picture that is no square becomes one: whole, with its border's median around "
            "it; its middle; or distorted",
            "name",
        ),
    ] = "fit"
    channels: Annotated[
        Literal["auto", "1", "3"],
        Parameter(
            "1 makes pictures grey, 3 keeps their colours; auto is 3 where a picture of train "
            "has colours on more than 1 % of its pixels",
            "count",
        ),
    ] = "auto"
    range: Annotated[
        str,
        Parameter(
            "values of a picture's file that become black and white, LOW..HIGH; empty is what its "
            "type holds, of decimal numbers what train has",
            "values of pixels",
        ),
    ] = ""
    background: Annotated[
        Literal["white", "black"],
        Parameter("what transparent pictures are laid on", "name"),
    ] = "white"
    sequence_length: Annotated[
        int,
        Parameter(
            "longest text or sequence kept; the rest is cut", "characters or rows", ge=1, le=65_536
        ),
    ] = 64
    workers: Annotated[
        int,
        Parameter(
            "processes (or pods) that train together; does not change the result",
            "count",
            ge=1,
            le=256,
        ),
    ] = 1
    max_workers: Annotated[
        int,
        Parameter(
            "most workers a resize may ask for; 0 is as many as workers", "count", ge=0, le=256
        ),
    ] = 0
    min_workers: Annotated[
        int,
        Parameter(
            "fewest workers the run may be scaled to; 0 leaves it at as many as workers",
            "count",
            ge=0,
            le=256,
        ),
    ] = 0
    batch: Annotated[
        Literal["fixed", "adaptive"],
        Parameter(
            "adaptive lets the global batch grow with the gradient noise, the learning rate "
            "with it",
            "name",
        ),
    ] = "fixed"
    max_batch_size: Annotated[
        int,
        Parameter(
            "largest global batch that batch=adaptive may take; 0 is eight times batch_size",
            "examples",
            ge=0,
            le=1_048_576,
        ),
    ] = 0
    objective: Annotated[
        Literal["balanced", "deadline", "budget"],
        Parameter(
            "least cost with the value of time; cheapest by the deadline; fastest within "
            "the budget",
            "name",
        ),
    ] = "balanced"
    budget_usd: Annotated[
        str,
        Parameter(
            "most that the run may cost over all its attempts; empty is no limit", "US dollars"
        ),
    ] = ""
    deadline: Annotated[
        str,
        Parameter(
            "when training has to be done: a time from submit (90m, 2h30m) or a moment "
            "(2026-12-24T18:00Z); empty is none",
            "time",
        ),
    ] = ""
    allow_listed: Annotated[
        bool,
        Parameter(
            "let the plan take a machine type that nothing was measured on over a measured one",
            "true or false",
        ),
    ] = False
    isolated_network: Annotated[
        bool,
        Parameter(
            "nobody but this run's workers reaches their ports: collective=multiworker needs that, "
            "since TensorFlow listens at all addresses and asks nobody who they are",
            "true or false",
        ),
    ] = False
    machine_type: Annotated[
        str,
        Parameter(
            "of the workers' pods, out of the catalogue; empty is one core and 2 GiB each", "name"
        ),
    ] = ""
    queue_seconds: Annotated[
        float,
        Parameter(
            "how long the first worker may wait for a node, where the cluster adds nodes",
            "seconds",
            ge=0,
            le=604_800,
        ),
    ] = 0.0
    candidates: Annotated[
        str,
        Parameter(
            "smaller models that evaluate makes and measures; pruned80+int8, two_of_four+int8 and "
            "structured50+int8 train on; empty is none",
            "names",
        ),
    ] = "float32 float16 dynamic int8 weights4"
    baseline: Annotated[
        str,
        Parameter(
            "plain method that evaluate compares the model with on the same test split; "
            "empty is none",
            "name",
        ),
    ] = ""
    tuning_epochs: Annotated[
        float,
        Parameter(
            "passes over the training split for each pruned or structured candidate",
            "count",
            gt=0,
            le=10_000,
        ),
    ] = 2.0
    promote: Annotated[
        bool,
        Parameter("make the best candidate champion where it beats the champion", "true or false"),
    ] = True
    promote_margin: Annotated[
        float,
        Parameter(
            "by how much a candidate has to be better, beyond chance: of a share, 0.01 is a point",
            "share",
            ge=0,
            le=1,
        ),
    ] = 0.0
    max_model_bytes: Annotated[
        int,
        Parameter(
            "largest .tflite file that may be champion; 0 is no limit", "bytes", ge=0, le=2**40
        ),
    ] = 0
    max_latency_seconds: Annotated[
        float,
        Parameter(
            "longest median latency of one prediction that a champion may have; 0 is no limit",
            "seconds",
            ge=0,
            le=3600,
        ),
    ] = 0.0
    max_usd_per_million: Annotated[
        float,
        Parameter(
            "most that a million predictions of a champion may cost; 0 is no limit",
            "US dollars",
            ge=0,
            le=1e9,
        ),
    ] = 0.0
    snapshot: Annotated[
        str,
        Parameter(
            "leave out files of the source that were written after this moment "
            "(2026-12-24T18:00Z); "
            "empty is none",
            "time",
        ),
    ] = ""
    retrain: Annotated[
        Literal["always", "if-new-data"],
        Parameter("if-new-data ends at once where the champion has seen the same data", "name"),
    ] = "always"
    start: Annotated[
        Literal["fresh", "champion"],
        Parameter("begin with new weights, or with the champion's", "name"),
    ] = "fresh"

    @property
    def snapshot_microseconds(self) -> int | None:
        """The moment of the snapshot (UTC); None without one."""
        return limits.instant(self.snapshot)

    @property
    def pixel_range(self) -> tuple[float, float] | None:
        """The values of pixels that become 0 and 1; None where the pictures say."""
        return limits.pixel_range(self.range)

    def read_as(self, reading: Mapping[str, Any]) -> "Spec":
        """The same, with what it leaves to the data as it was decided for other data.

        Args:
            reading: of a dataset's meta.
        """
        open_ones = {
            name: value
            for name, value in reading.items()
            if name in Spec.model_fields and getattr(self, name) == Spec.model_fields[name].default
        }
        return self.model_copy(update=open_ones)

    @property
    def most_workers(self) -> int:
        """The most workers this run may ever have."""
        return self.max_workers or self.workers

    @property
    def fewest_workers(self) -> int:
        """The fewest that scaling may leave it."""
        return self.min_workers or self.workers

    @property
    def elastic(self) -> bool:
        """Whether the number of workers is Tally's to choose."""
        return bool(self.min_workers)

    @property
    def largest_batch(self) -> int:
        """The largest global batch this run may ever take."""
        if self.batch == "fixed":
            return self.batch_size
        return self.max_batch_size or 8 * self.batch_size

    @property
    def limit_usd(self) -> float | None:
        """The budget as a number; None for no limit."""
        return limits.budget_usd(self.budget_usd)
