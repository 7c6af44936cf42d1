"""What a parameter is, and those that workers train by; a worker loads this without pydantic."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal


@dataclass(frozen=True)
class Parameter:
    """What stands beside a parameter's type: what it is, its unit, its bounds.

    Pydantic takes it for the bounds that it gives when it is iterated over.
    """

    description: str
    unit: str
    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    min_length: int | None = None
    __is_annotated_types_grouped_metadata__ = True

    def __iter__(self) -> Iterator[Any]:
        from annotated_types import Ge, Gt, Le, MinLen

        rules: dict[Any, Any] = {Ge: self.ge, Gt: self.gt, Le: self.le, MinLen: self.min_length}
        return (rule(bound) for rule, bound in rules.items() if bound is not None)


@dataclass(frozen=True, kw_only=True)
class TrainingParameters:
    """The part of the Spec that workers are told as the user gave it.

    A field here is one of the Spec, of pipelines' signatures and of a worker's config.
    """

    model: Annotated[
        str,
        Parameter("a packaged model, or a Python file with model()", "name or path", min_length=1),
    ] = "cnn"
    epochs: Annotated[
        int, Parameter("passes over the training split", "count", ge=1, le=100_000)
    ] = 5
    batch_size: Annotated[
        int, Parameter("global batch of one optimiser step", "examples", ge=1, le=1_048_576)
    ] = 32
    learning_rate: Annotated[
        float, Parameter("step size of the optimiser", "per step", gt=0, le=1000)
    ] = 0.001
    seed: Annotated[
        int, Parameter("seeds weights and the order of examples", "none", ge=0, le=2**31 - 1)
    ] = 0
    checkpoint_seconds: Annotated[
        float, Parameter("time between checkpoints", "seconds", gt=0, le=86_400)
    ] = 30.0
    virtual_shards: Annotated[
        int, Parameter("parts that each batch is cut into for the workers", "count", ge=1, le=256)
    ] = 12
    deterministic: Annotated[
        bool,
        Parameter(
            "weights equal bit by bit at any number of workers, more slowly", "true or false"
        ),
    ] = False
    collective: Annotated[
        Literal["mesh", "multiworker"],
        Parameter("what workers sum with: Tally's ring over TCP, or TensorFlow's own", "name"),
    ] = "mesh"

    def training(self) -> dict[str, Any]:
        """These by name."""
        return {field.name: getattr(self, field.name) for field in fields(TrainingParameters)}
