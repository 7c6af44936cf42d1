"""What a candidate is made by, as one word: `int8`, `pruned80+int8`, `structured50+weights4`."""

import difflib
import re
from dataclasses import dataclass
from typing import Literal, cast

from tally.errors import SpecError

Pruning = Literal["", "pruned", "two_of_four", "structured"]
Quantisation = Literal["float32", "float16", "dynamic", "int8", "weights8", "weights4"]
QUANTISATIONS: tuple[Quantisation, ...] = (
    "float32", "float16", "dynamic", "int8", "weights8", "weights4",
)  # fmt: skip
# What every pipeline makes: none of them trains any further, so together they take seconds.
DEFAULT = "float32 float16 dynamic int8 weights4"
_PRUNING = re.compile(r"(pruned|structured)(\d{1,2})")
_EXAMPLES = "int8, pruned80+int8, two_of_four, structured50+weights4"


@dataclass(frozen=True)
class Recipe:
    """How a candidate is made.

    Attributes:
        name: the word it was read from.
        pruning: "" for none; pruned: single weights; two_of_four: of every four weights that feed
            an output the two smallest; structured: whole filters and units.
        percent: of the weights that go, or of the filters and units.
        quantisation: float32 leaves numbers as they are; dynamic: 8-bit weights, activations as
            they come; int8: both, calibrated on training examples; weights8 and weights4: weights
            alone, computed with as floats or dynamically.
    """

    name: str
    pruning: Pruning
    percent: int
    quantisation: Quantisation

    @property
    def base(self) -> str:
        """What has to be trained for it: the part before the quantisation, "" for the model."""
        return self.name.partition("+")[0] if self.pruning else ""


def parse(name: str) -> Recipe:
    """The recipe that a word names.

    Raises:
        SpecError: it names none; says what would.
    """
    base, plus, last = name.rpartition("+")
    if not plus and last not in QUANTISATIONS:
        base, last = name, "float32"
    if last not in QUANTISATIONS or (plus and not base):
        raise _unknown(name, last)
    if not base:
        return Recipe(name, "", 0, last)
    if base == "two_of_four":
        return Recipe(name, "two_of_four", 50, last)
    found = _PRUNING.fullmatch(base)
    if not found or not 1 <= int(found[2]) <= 98:
        raise _unknown(name, base)
    return Recipe(name, cast(Pruning, found[1]), int(found[2]), last)


def parse_all(text: str) -> list[Recipe]:
    """The recipes of a list of words, each once, in order; "" is none.

    Raises:
        SpecError: a word that names none.
    """
    return [parse(name) for name in dict.fromkeys(text.replace(",", " ").split())]


def _unknown(name: str, part: str) -> SpecError:
    words = (*QUANTISATIONS, "pruned80", "two_of_four", "structured50")
    near = difflib.get_close_matches(part, words, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else f"for example {_EXAMPLES}"
    return SpecError(
        f"candidates: expected {', '.join(QUANTISATIONS)}, alone or after pruned1 … pruned98+, "
        f"two_of_four+ or structured1 … structured98+, got {name}; {hint}"
    )
