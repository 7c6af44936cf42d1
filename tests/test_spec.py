"""What a user asks for: bounds, types, nearest names, secrets."""

import pytest

from tally import spec
from tally.errors import SpecError


@pytest.mark.parametrize(
    ("values", "says"),
    [
        pytest.param({"epochs": 0}, r"epochs must be a whole number, 1 to .*got 0", id="zero"),
        pytest.param({"epochs": "1.5"}, r"epochs must be a whole number", id="fraction"),
        pytest.param({"epochs": "many"}, r"got many; pass SET=\"epochs=5\"", id="text"),
        pytest.param({"learning_rate": "nan"}, r"learning_rate must be a number", id="nan"),
        pytest.param({"learning_rate": "inf"}, r"learning_rate must be a number", id="inf"),
        pytest.param({"learning_rate": -1}, r"more than 0", id="negative"),
        pytest.param({"dataset": ""}, r"any text that is not empty", id="empty"),
        pytest.param({"batchsize": 3}, r"did you mean batch_size\?", id="near"),
        pytest.param({"deterministic": "perhaps"}, r"true or false, got perhaps", id="flag"),
        pytest.param({"workers": 3, "max_workers": 2}, r"max_workers must be 3", id="limit"),
        pytest.param({"workers": 13}, r"virtual_shards must be 13", id="shards"),
        pytest.param(
            {"collective": "multiworker"},
            r"ports take orders from whoever reaches them",
            id="open ports",
        ),
        pytest.param({"zzz": 3}, r"got zzz; see `make help`", id="far"),
        pytest.param({"AWS_SECRET": 3}, r"expected no secret", id="secret"),
    ],
)
def test_a_bad_parameter_is_one_line(values: dict, says: str) -> None:
    with pytest.raises(SpecError, match=says) as caught:
        spec.validate("pipelines/cnn", values)
    assert "\n" not in str(caught.value)


def test_text_and_kfps_floats_become_the_fields_types() -> None:
    made = spec.validate("here", {"epochs": "7", "batch_size": 64.0, "learning_rate": "1e-2"})
    assert (made.epochs, made.batch_size, made.learning_rate) == (7, 64, 0.01)


@pytest.mark.parametrize("name", ["password", "api_key", "hf_token", "aws_secret_access_key"])
def test_a_name_that_looks_like_a_secret_is_refused(name: str) -> None:
    with pytest.raises(SpecError, match="secret"):
        spec.parse_settings([f"{name}=x"])


@pytest.mark.parametrize("name", [*spec.Spec.model_fields, "max_tokens"])
def test_ordinary_names_are_no_secrets(name: str) -> None:
    spec.refuse_secret(name)


def test_settings_given_twice_or_without_a_value_are_refused() -> None:
    with pytest.raises(SpecError, match="twice"):
        spec.parse_settings(["epochs=1", "epochs=2"])
    with pytest.raises(SpecError, match="name=value"):
        spec.parse_settings(["epochs"])
    assert spec.parse_settings(["dataset=a=b"]) == {"dataset": "a=b"}
