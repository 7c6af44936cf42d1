"""What a user asks for, validated: the parameters of every pipeline, in one place.

Pipelines take their signature, defaults and descriptions from here, the prepare step validates
against it, and the steps after it receive the validated spec whole.
"""

import difflib
import re
import shlex
from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from tally import limits
from tally.errors import SpecError

_SECRET = re.compile(
    r"secret|token(?!s)|passw|api_?key|access_?key|private_?key|credential|bearer", re.IGNORECASE
)


def _parameter(default: Any, description: str, unit: str, **bounds: Any) -> Any:
    return Field(default, description=description, json_schema_extra={"unit": unit}, **bounds)


class Spec(BaseModel):
    """The parameters of a run. Every one has a default, a unit and bounds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = _parameter(
        "cnn", "a packaged model, or a Python file with model()", "name or path", min_length=1
    )
    dataset: str = _parameter(
        "digits",
        "a packaged dataset, a file or folder, gs://…, or a Python file with dataset()",
        "name, path or URL",
        min_length=1,
    )
    epochs: int = _parameter(5, "passes over the training split", "count", ge=1, le=100_000)
    batch_size: int = _parameter(
        32, "global batch of one optimiser step", "examples", ge=1, le=1_048_576
    )
    learning_rate: float = _parameter(
        0.001, "step size of the optimiser", "per step", gt=0, le=1000, allow_inf_nan=False
    )
    seed: int = _parameter(0, "seeds weights and the order of examples", "none", ge=0, le=2**31 - 1)
    augment: int = _parameter(
        0,
        "training split enlarged so many times by small rotations and shifts; "
        "0 is the dataset's own default, 1 is off",
        "times",
        ge=0,
        le=1000,
    )
    image_size_pixels: int = _parameter(
        28, "side that pictures of an image folder are brought to", "pixels", ge=4, le=1024
    )
    sequence_length: int = _parameter(
        64, "longest text or sequence kept; the rest is cut", "characters or rows", ge=1, le=65_536
    )
    checkpoint_seconds: float = _parameter(
        30.0, "time between checkpoints", "seconds", gt=0, le=86_400, allow_inf_nan=False
    )
    workers: int = _parameter(
        1, "processes (or pods) that train together; does not change the result", "count", ge=1,
        le=256,
    )  # fmt: skip
    max_workers: int = _parameter(
        0, "most workers a resize may ask for; 0 is as many as workers", "count", ge=0, le=256
    )
    min_workers: int = _parameter(
        0,
        "fewest workers the run may be scaled to; 0 leaves it at as many as workers",
        "count",
        ge=0,
        le=256,
    )
    batch: Literal["fixed", "adaptive"] = _parameter(
        "fixed",
        "adaptive lets the global batch grow with the gradient noise, the learning rate with it",
        "name",
    )
    max_batch_size: int = _parameter(
        0,
        "largest global batch that batch=adaptive may take; 0 is eight times batch_size",
        "examples",
        ge=0,
        le=1_048_576,
    )
    objective: Literal["balanced", "deadline", "budget"] = _parameter(
        "balanced",
        "least cost with the value of time; cheapest by the deadline; fastest within the budget",
        "name",
    )
    budget_usd: str = _parameter(
        "", "most that the run may cost over all its attempts; empty is no limit", "US dollars"
    )
    deadline: str = _parameter(
        "",
        "when training has to be done: a time from submit (90m, 2h30m) or a moment "
        "(2026-12-24T18:00Z); empty is none",
        "time",
    )
    allow_listed: bool = _parameter(
        False,
        "let the plan take a machine type that nothing was measured on over a measured one",
        "true or false",
    )
    virtual_shards: int = _parameter(
        12, "parts that each batch is cut into for the workers", "count", ge=1, le=256
    )
    deterministic: bool = _parameter(
        False, "weights equal bit by bit at any number of workers, more slowly", "true or false"
    )
    collective: Literal["mesh", "multiworker"] = _parameter(
        "mesh", "what workers sum with: Tally's ring over TCP, or TensorFlow's own", "name"
    )
    isolated_network: bool = _parameter(
        False,
        "nobody but this run's workers reaches their ports: collective=multiworker needs that, "
        "since TensorFlow listens at all addresses and asks nobody who they are",
        "true or false",
    )
    machine_type: str = _parameter(
        "", "of the workers' pods, out of the catalogue; empty is one core and 2 GiB each", "name"
    )
    queue_seconds: float = _parameter(
        0.0,
        "how long the first worker may wait for a node, where the cluster adds nodes",
        "seconds",
        ge=0,
        le=604_800,
        allow_inf_nan=False,
    )

    candidates: str = _parameter(
        "float32 float16 dynamic int8 weights4",
        "smaller models that evaluate makes and measures; pruned80+int8, two_of_four+int8 and "
        "structured50+int8 train on; empty is none",
        "names",
    )
    baseline: str = _parameter(
        "",
        "plain method that evaluate compares the model with on the same test split; empty is none",
        "name",
    )
    tuning_epochs: float = _parameter(
        2.0,
        "passes over the training split for each pruned or structured candidate",
        "count",
        gt=0,
        le=10_000,
        allow_inf_nan=False,
    )
    promote: bool = _parameter(
        True, "make the best candidate champion where it beats the champion", "true or false"
    )
    promote_margin: float = _parameter(
        0.0,
        "by how much a candidate has to be better, beyond chance: of a share, 0.01 is a point",
        "share",
        ge=0,
        le=1,
        allow_inf_nan=False,
    )
    max_model_bytes: int = _parameter(
        0, "largest .tflite file that may be champion; 0 is no limit", "bytes", ge=0, le=2**40
    )
    max_latency_seconds: float = _parameter(
        0.0,
        "longest median latency of one prediction that a champion may have; 0 is no limit",
        "seconds",
        ge=0,
        le=3600,
        allow_inf_nan=False,
    )
    max_usd_per_million: float = _parameter(
        0.0,
        "most that a million predictions of a champion may cost; 0 is no limit",
        "US dollars",
        ge=0,
        le=1e9,
        allow_inf_nan=False,
    )
    snapshot: str = _parameter(
        "",
        "leave out files of the source that were written after this moment (2026-12-24T18:00Z); "
        "empty is none",
        "time",
    )
    retrain: Literal["always", "if-new-data"] = _parameter(
        "always", "if-new-data ends at once where the champion has seen the same data", "name"
    )
    start: Literal["fresh", "champion"] = _parameter(
        "fresh", "begin with new weights, or with the champion's", "name"
    )

    @property
    def snapshot_microseconds(self) -> int | None:
        """The moment of the snapshot (UTC); None without one."""
        return limits.instant(self.snapshot)

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


def allowed(field: FieldInfo) -> str:
    """The values a field allows, in words: `1 or more`, `more than 0`, `1 to 10`, `any text`."""
    if field.annotation is bool:
        return "true or false"
    if get_origin(field.annotation) is Literal:
        return " or ".join(get_args(field.annotation))
    bounds: dict[str, Any] = {}
    for rule in field.metadata:
        for name in ("ge", "gt", "le", "min_length"):
            if (value := getattr(rule, name, None)) is not None:
                bounds[name] = value
    low = f"more than {bounds['gt']:g}" if "gt" in bounds else f"{bounds.get('ge', '')}"
    if "le" in bounds:
        high = f"{bounds['le']:g}" if isinstance(bounds["le"], float) else str(bounds["le"])
        return f"{low}, at most {high}" if "gt" in bounds else f"{low} to {high}"
    if field.annotation is str:
        return "any text that is not empty" if "min_length" in bounds else "any text"
    return f"{low} or more"


def describe(name: str) -> str:
    """One parameter's description for the Kubeflow UI: what, its unit, its allowed values."""
    field = Spec.model_fields[name]
    extra = field.json_schema_extra
    unit = extra["unit"] if isinstance(extra, dict) else ""
    return f"{field.description}. Unit: {unit}. Allowed: {allowed(field)}."


def refuse_secret(name: str) -> None:
    """Refuse a parameter that looks like a secret: parameters are shown, logged and kept.

    Raises:
        SpecError: it does.
    """
    if _SECRET.search(name):
        raise SpecError(
            f"{name}: expected no secret among the parameters (they are logged and kept), got a "
            "name that looks like one; put it into the environment or a Kubernetes Secret"
        )


def split_settings(text: str) -> list[str]:
    """`epochs=5 dataset="my data/x.csv"` → its pairs, split into words as a shell does.

    Raises:
        SpecError: a quotation that does not end.
    """
    try:
        return shlex.split(text)
    except ValueError as error:
        raise SpecError(
            f'SET: expected name=value pairs, got {text!r} ({error}); pass SET="epochs=5 seed=1"'
        ) from error


def parse_settings(pairs: list[str]) -> dict[str, str]:
    """`["epochs=5"]` → `{"epochs": "5"}`.

    Raises:
        SpecError: a pair without `=` or given twice, or a name that looks like a secret.
    """
    settings: dict[str, str] = {}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not separator or not name:
            raise SpecError(f'--set: expected name=value, got "{pair}"; pass SET="epochs=5"')
        refuse_secret(name)
        if name in settings:
            raise SpecError(f"--set: expected {name} once, got it twice; leave one out")
        settings[name] = value
    return _ranges(settings)


def _ranges(settings: dict[str, str]) -> dict[str, str]:
    """`workers=1..4` → min_workers=1, workers=1, max_workers=4.

    Raises:
        SpecError: no two whole numbers, the first above the second, or a limit given twice.
    """
    low, dots, high = settings.get("workers", "").partition("..")
    if not dots:
        return settings
    if not (low.isdecimal() and high.isdecimal()) or not 1 <= int(low) <= int(high):
        raise SpecError(
            f"workers: expected fewest..most, 1 or more and the fewest first, got {low}..{high}; "
            'pass SET="workers=1..4"'
        )
    for name in ("min_workers", "max_workers"):
        if name in settings:
            raise SpecError(f"{name}: expected once, got it in workers={low}..{high} too; leave it")
    return settings | {"workers": low, "min_workers": low, "max_workers": high}


def validate(where: str, values: Mapping[str, Any]) -> Spec:
    """The spec made of `values`, defaults filled in.

    Args:
        where: what is being configured, the first words of an error: `pipelines/cnn`.
        values: parameters by name; text is converted to the field's type.

    Raises:
        SpecError: unknown name (the nearest is named), wrong type, out of bounds.
    """
    for name in values:
        refuse_secret(name)
        if name not in Spec.model_fields:
            near = difflib.get_close_matches(name, Spec.model_fields, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else "see `make help`"
            raise SpecError(
                f"{where}: expected one of {', '.join(Spec.model_fields)}, got {name}; {hint}"
            )
    try:
        spec = Spec.model_validate(dict(values))
    except ValidationError as error:
        name = str(error.errors()[0]["loc"][0])
        field = Spec.model_fields[name]
        kind = ""
        if field.annotation is int or field.annotation is float:
            kind = "a whole number, " if field.annotation is int else "a number, "
        raise SpecError(
            f"{where}: {name} must be {kind}{allowed(field)}, got {values[name]!s}; "
            f'pass SET="{name}={field.default}"'
        ) from error
    _check_workers(where, spec)
    _check_objective(where, spec)
    return spec


def _check_workers(where: str, spec: Spec) -> None:
    """Refuse a gang that its own limits do not allow.

    Raises:
        SpecError: says which parameter to change.
    """
    if spec.most_workers < spec.workers:
        raise SpecError(
            f"{where}: max_workers must be {spec.workers} (workers) or more, got "
            f'{spec.max_workers}; pass SET="max_workers={spec.workers}" or leave it out'
        )
    if spec.fewest_workers > spec.workers:
        raise SpecError(
            f"{where}: min_workers must be {spec.workers} (workers) or less, got "
            f'{spec.min_workers}; pass SET="workers={spec.min_workers}..{spec.min_workers + 1}"'
        )
    if spec.most_workers > spec.virtual_shards:
        raise SpecError(
            f"{where}: virtual_shards must be {spec.most_workers} (workers) or more, got "
            f'{spec.virtual_shards}; pass SET="virtual_shards={spec.most_workers}" or fewer workers'
        )
    if spec.collective == "multiworker" and not spec.isolated_network:
        raise SpecError(
            f"{where}: collective=multiworker expects a network of its own, since TensorFlow's "
            "ports take orders from whoever reaches them, got none; leave it out (mesh), or pass "
            'SET="collective=multiworker isolated_network=true" where a policy keeps others away'
        )


def _check_objective(where: str, spec: Spec) -> None:
    """Refuse an objective without what it needs, and limits that nothing can meet.

    Raises:
        SpecError: says which parameter to change.
    """
    try:
        budget, deadline = spec.limit_usd, limits.moment(spec.deadline)
        limits.instant(spec.snapshot)
    except SpecError as error:
        raise SpecError(f"{where}: {error}") from error
    for name, given in (("budget", budget), ("deadline", deadline)):
        if spec.objective == name and given is None:
            parameter = {"budget": "budget_usd=5", "deadline": "deadline=2h"}[name]
            raise SpecError(
                f"{where}: objective={name} expects {parameter.partition('=')[0]}, got none; "
                f'pass SET="objective={name} {parameter}"'
            )
    if spec.max_batch_size and spec.max_batch_size < spec.batch_size:
        raise SpecError(
            f"{where}: max_batch_size must be {spec.batch_size} (batch_size) or more, got "
            f"{spec.max_batch_size}; leave it out, or pass "
            f'SET="max_batch_size={8 * spec.batch_size}"'
        )
