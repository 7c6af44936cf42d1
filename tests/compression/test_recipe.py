import pytest

from tally.compression.recipe import DEFAULT, QUANTISATIONS, parse, parse_all
from tally.errors import SpecError


@pytest.mark.parametrize(
    ("name", "pruning", "percent", "quantisation", "base"),
    [
        ("int8", "", 0, "int8", ""),
        ("pruned80", "pruned", 80, "float32", "pruned80"),
        ("pruned9+weights4", "pruned", 9, "weights4", "pruned9"),
        ("two_of_four+dynamic", "two_of_four", 50, "dynamic", "two_of_four"),
        ("structured50+float16", "structured", 50, "float16", "structured50"),
    ],
)
def test_a_word_names_a_recipe(
    name: str, pruning: str, percent: int, quantisation: str, base: str
) -> None:
    found = parse(name)
    assert (found.pruning, found.percent, found.quantisation) == (pruning, percent, quantisation)
    assert (found.name, found.base) == (name, base)


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("int9", "did you mean int8?"),
        ("+int8", "did you mean int8?"),
        ("pruned0", "did you mean pruned80?"),
        ("pruned99+int8", "did you mean pruned80?"),
        ("structured50+", "for example int8"),
        ("pruned80+int8+float16", "did you mean pruned80?"),
        ("../etc", "for example int8"),
    ],
)
def test_a_word_that_names_none_is_refused_with_the_nearest(word: str, hint: str) -> None:
    with pytest.raises(SpecError, match="candidates: expected float32") as refused:
        parse(word)
    assert f"got {word}; " in str(refused.value)
    assert hint in str(refused.value)


def test_a_list_has_each_recipe_once_and_in_order() -> None:
    assert [r.name for r in parse_all("int8, float32 int8")] == ["int8", "float32"]
    assert parse_all("") == []
    assert {r.quantisation for r in parse_all(DEFAULT)} <= set(QUANTISATIONS)
