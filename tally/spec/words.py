"""A parameter in words, for Kubeflow's UI and for errors."""

from typing import Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from tally.parameters import Parameter
from tally.spec.spec import Spec


def parameter_of(field: FieldInfo) -> Parameter:
    """What the Spec says beside a field's type."""
    (found,) = (rule for rule in field.metadata if isinstance(rule, Parameter))
    return found


def allowed(field: FieldInfo) -> str:
    """The values a field allows, in words: `1 or more`, `more than 0`, `1 to 10`, `any text`."""
    if field.annotation is bool:
        return "true or false"
    if get_origin(field.annotation) is Literal:
        return " or ".join(get_args(field.annotation))
    own = parameter_of(field)
    if field.annotation is str:
        return "any text" if own.min_length is None else "any text that is not empty"
    low = f"{own.ge}" if own.gt is None else f"more than {own.gt:g}"
    if own.le is None:
        return f"{low} or more"
    high = f"{own.le:g}" if isinstance(own.le, float) else str(own.le)
    return f"{low} to {high}" if own.gt is None else f"{low}, at most {high}"


def describe(name: str) -> str:
    """One parameter's description for the Kubeflow UI: what, its unit, its allowed values."""
    field = Spec.model_fields[name]
    own = parameter_of(field)
    return f"{own.description}. Unit: {own.unit}. Allowed: {allowed(field)}."
