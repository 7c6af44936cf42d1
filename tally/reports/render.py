"""Templates to HTML: one page that holds everything it shows and escapes everything it is given."""

import functools
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from tally.reports import words

# Each has a colour of its own in style.css, the same in every plot, table and mode.
STEPS = ("prepare", "plan", "train", "evaluate", "compress", "promote", "bill", "submit")


def render(template: str, **values: Any) -> str:
    """The HTML of tally/reports/templates/`template`, autoescaped."""
    return _environment().get_template(template).render(**values)


@functools.cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    environment.globals["known_steps"] = STEPS
    environment.filters.update(
        usd=words.usd,
        duration=words.duration,
        count=words.count,
        percent=words.percent,
        moment=words.moment,
        clip=words.clip,
        per_example=words.per_example,
        written=lambda value, form: words.written(form, value),
        step_class=lambda step: step if step in STEPS else "other",
    )
    return environment
