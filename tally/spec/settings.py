"""Parameters as a command line has them: name=value."""

import re
import shlex

from tally.errors import SpecError

_SECRET = re.compile(
    r"secret|token(?!s)|passw|api_?key|access_?key|private_?key|credential|bearer", re.IGNORECASE
)


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
