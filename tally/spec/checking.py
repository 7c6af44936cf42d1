"""Whether parameters can be right, each by itself and all together."""

import difflib
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from tally import limits
from tally.errors import SpecError
from tally.spec.settings import refuse_secret
from tally.spec.spec import Spec
from tally.spec.words import allowed


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
        limits.pixel_range(spec.range)
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
