"""What a user asks for, validated: the parameters of every pipeline, in one place.

Pipelines take their signature, defaults and descriptions from here, so does the prepare component,
whose step validates against it; the steps after it receive the validated spec whole.
"""

from tally.spec.checking import validate
from tally.spec.settings import parse_settings, refuse_secret, split_settings
from tally.spec.spec import Spec
from tally.spec.words import allowed, describe

__all__ = [
    "Spec",
    "allowed",
    "describe",
    "parse_settings",
    "refuse_secret",
    "split_settings",
    "validate",
]
