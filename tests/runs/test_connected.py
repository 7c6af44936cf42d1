"""What `tally connect` kept: where it counts, where the environment does, files that are none."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tally.errors import SpecError
from tally.runs import connected, doctor
from tally.runs.choosing import engine_of
from tally.runs.connected import Connection
from tally.runs.here import Here
from tally.runs.kubeflow.engine import Kubeflow

KEPT = {
    "KFP_HOST": "https://kubeflow.example",
    "KFP_TOKEN_FILE": "/kept/token",
    "TALLY_METER_URL": "https://meter.example",
    "TALLY_METER_TOKEN_FILE": "/kept/meter-token",
}


def test_what_was_kept_is_read_again() -> None:
    assert connected.kept() is None
    connected.keep(Connection(KEPT, "kind"))
    assert connected.kept() == Connection(KEPT, "kind")
    connected.keep(Connection({}))
    assert connected.kept() == Connection({})


@pytest.mark.parametrize(
    ("environment", "without"),
    [
        pytest.param({}, set(), id="nothing else is said"),
        pytest.param({"KFP_HOST": "https://kubeflow.example/"}, {"KFP_HOST"}, id="the same host"),
        pytest.param({"KFP_HOST": "https://another.example"}, set(KEPT), id="another host"),
        pytest.param({"KFP_HOST": ""}, set(KEPT), id="no host"),
        pytest.param({"ENGINE": "local"}, set(KEPT), id="this machine"),
        pytest.param({"ENGINE": "cluster"}, set(), id="a cluster"),
        pytest.param({"KFP_TOKEN": "mine"}, {"KFP_TOKEN_FILE"}, id="another token"),
        pytest.param(
            {"TALLY_METER_URL": "https://another.example"},
            {"TALLY_METER_URL", "TALLY_METER_TOKEN_FILE"}, id="a meter's token is no other's",
        ),
        pytest.param(
            {"TALLY_METER_URL": ""}, {"TALLY_METER_URL", "TALLY_METER_TOKEN_FILE"}, id="no meter"
        ),
    ],
)  # fmt: skip
def test_the_environment_wins(environment: dict[str, str], without: set[str]) -> None:
    before = dict(environment)
    connected.keep(Connection(KEPT))
    connected.complete(environment)
    added = {name: value for name, value in KEPT.items() if name not in without}
    assert environment == {**before, **added}


def test_without_kubeflow_what_was_kept_of_a_meter_counts_beside_any_host() -> None:
    kept = Connection({"TALLY_METER_URL": "https://meter.example"})
    assert connected.added(kept, {"KFP_HOST": "https://kubeflow.example"}) == kept.settings


@pytest.mark.parametrize(
    ("document", "said"),
    [
        pytest.param({"schema": 2, "context": "", "settings": {}}, "expected schema version 1",
                     id="a newer one"),
        pytest.param({"schema": 1, "context": "", "settings": {"PATH": "/evil"}},
                     "the setting 'PATH'", id="a setting of another's"),
        pytest.param({"schema": 1, "settings": {}}, "KeyError", id="no context"),
        pytest.param({"schema": 1, "context": "", "settings": []}, "AttributeError", id="a list"),
        pytest.param([], "TypeError", id="none"),
    ],
)  # fmt: skip
def test_a_file_that_is_none_is_refused(document: Any, said: str) -> None:
    connected.keep(Connection({}))
    connected.file().write_text(json.dumps(document))
    with pytest.raises(SpecError, match=r"connection\.json: expected") as caught:
        connected.complete({})
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_a_damaged_file_is_refused() -> None:
    connected.keep(Connection(KEPT))
    connected.file().write_text(connected.file().read_text()[:40])
    with pytest.raises(SpecError, match="remove it, then make connect"):
        connected.kept()


def test_looking_makes_no_home(tally_home: Path) -> None:
    connected.complete({})
    assert not tally_home.exists()


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        pytest.param(KEPT, ", of the context kind", id="in use"),
        pytest.param(
            {**KEPT, "TALLY_METER_URL": "https://another.example"},
            ", of the context kind; the environment says otherwise of TALLY_METER_URL", id="but",
        ),
        pytest.param(
            {"KFP_HOST": "https://another.example"},
            ", of the context kind, does not count beside this environment", id="another's",
        ),
    ],
)  # fmt: skip
def test_doctor_says_which_is_in_use(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], said: str
) -> None:
    def line() -> str:
        return next(one.line() for one in doctor._of_this_machine() if one.what == "connection")

    assert line().startswith("ok       connection: none kept")
    connected.keep(Connection(KEPT, "kind"))
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert line() == f"ok       connection: {connected.file()}{said}"


def test_a_command_that_stays_here_has_nothing_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in connected.NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TALLY_METER_URL", "https://own.example")
    connected.keep(Connection(KEPT))
    connected.complete()
    assert isinstance(engine_of(""), Kubeflow)
    assert os.environ["KFP_HOST"] == KEPT["KFP_HOST"]
    assert isinstance(engine_of("local"), Here)
    assert "KFP_HOST" not in os.environ
    assert os.environ["TALLY_METER_URL"] == "https://own.example"
