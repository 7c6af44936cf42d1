"""`tally token` against an API server: whose token, for how long, in which file, never shown."""

import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from helpers.contract.done import Done, one_line
from helpers.kubernetes_standin import ApiServer
from tally import storage
from tally.runs import connected

Called = Callable[..., Done]
pytestmark = pytest.mark.usefixtures("kubeconfig")


def ends_in(done: Done, **life: float) -> bool:
    """Whether that is when the token ends, as the command says it."""
    now = datetime.now(UTC)
    return any(
        f"until {now + timedelta(seconds=late, **life):%Y-%m-%d %H:%M} UTC" in done.out
        for late in (-60, 0)
    )


def test_it_is_of_the_account_of_runs_in_a_file_that_only_its_user_reads(
    api: ApiServer, called: Called, tally_home: Path
) -> None:
    done = called("token")
    assert done.code == 0, done.err
    file = tally_home / "meter-token"
    assert [file.read_text()] == api.tokens
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert api.tokens[0] not in done.out + done.err
    assert done.out.startswith("a token of kubeflow/pipeline-runner for the meter, until ")
    assert ends_in(done, days=1)
    assert done.out.endswith(f"; export TALLY_METER_TOKEN_FILE={file}\n")


def test_a_meter_is_not_sent_another_clusters_token(
    api: ApiServer, called: Called, tally_home: Path
) -> None:
    file = str(tally_home / "meter-token")
    connected.keep(connected.Connection({"TALLY_METER_TOKEN_FILE": file}, "another"))
    refused = called("token", NAMESPACE="kubeflow")
    assert refused.code == 2 and "expected the context another" in refused.err
    assert not Path(file).exists()
    assert called("token", NAMESPACE="kubeflow", OUT=str(tally_home / "other")).code == 0


def test_where_there_is_an_account_for_people_it_is_of_that_one(
    api: ApiServer, called: Called
) -> None:
    api.make_namespace("kubeflow", "pipeline-runner", "tally-person")
    assert called("token").out.startswith("a token of kubeflow/tally-person for the meter")
    assert called("token", KFP_SERVICE_ACCOUNT="pipeline-runner").out.startswith(
        "a token of kubeflow/pipeline-runner for"
    )


@pytest.mark.parametrize(
    ("environment", "context", "whose"),
    [
        pytest.param({"NAMESPACE": "team-b", "KFP_NAMESPACE": "kubeflow"}, "team-a",
                     "team-b/default-editor", id="as asked"),
        pytest.param({"KFP_NAMESPACE": "team-b"}, "team-a", "team-b/default-editor", id="KFP's"),
        pytest.param({}, "team-a", "team-a/default-editor", id="the kubeconfig's"),
        pytest.param({}, "", "kubeflow/pipeline-runner", id="Kubeflow's"),
        pytest.param({"ACCOUNT": "me"}, "team-a", "team-a/me", id="an account's"),
        pytest.param({"KFP_SERVICE_ACCOUNT": "me"}, "team-a", "team-a/me", id="that of runs"),
    ],
)  # fmt: skip
def test_whose_it_is(
    api: ApiServer, called: Called, kubeconfig: Path, environment: dict[str, str], context: str,
    whose: str,
) -> None:  # fmt: skip
    api.make_namespace("team-a", "default-editor", "me")
    api.make_namespace("team-b", "default-editor")
    api.write_kubeconfig(kubeconfig, context)
    done = called("token", **environment)
    assert done.out.startswith(f"a token of {whose} for the meter"), done.err


def test_the_end_is_the_one_that_the_server_gives(api: ApiServer, called: Called) -> None:
    api.longest_token_seconds = 3600
    assert ends_in(called("token", "--duration-seconds", "86400"), hours=1)
    assert ends_in(called("token", DURATION_SECONDS="600"), minutes=10)


def test_printed_only_when_asked_and_then_not_written(
    api: ApiServer, called: Called, tally_home: Path
) -> None:
    done = called("token", "--print")
    assert [done.out] == [f"{token}\n" for token in api.tokens]
    assert not (tally_home / "meter-token").exists()


def test_another_takes_the_place_of_the_last_with_the_narrow_rights(
    api: ApiServer, called: Called, tmp_path: Path
) -> None:
    file = tmp_path / "folder" / "token"
    file.parent.mkdir()
    file.write_text("an old one")
    file.chmod(0o644)
    assert called("token", "--out", str(file)).code == 0
    assert [file.read_text()] == api.tokens
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_two_at_once_leave_one_whole_secret_and_nothing_else(tmp_path: Path) -> None:
    file, written = tmp_path / "kept" / "token", [bytes([65 + n]) * 4096 for n in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda secret: storage.write_secret(file, secret), written))
    assert file.read_bytes() in written
    assert list(file.parent.iterdir()) == [file]


def test_who_may_not_is_told_the_verb(api: ApiServer, called: Called) -> None:
    api.forbidden = {"token"}
    one_line(
        called("token"),
        2,
        "right to create serviceaccounts/token of kubeflow/pipeline-runner, got Forbidden",
        "with resourceNames [pipeline-runner]",
    )


@pytest.mark.parametrize("forbidden", [set(), {"GET nobody"}], ids=["seen", "not to be seen"])
def test_an_account_that_is_not_there_is_named(
    api: ApiServer, called: Called, forbidden: set[str]
) -> None:
    api.forbidden = forbidden
    done = called("token", "--account", "nobody")
    one_line(done, 2, "expected the service account", "nobody", "got none", "ACCOUNT")


def test_a_namespace_without_runs_is_named(called: Called) -> None:
    one_line(
        called("token", NAMESPACE="empty"), 2, "account of runs in the namespace empty, got none"
    )


def test_a_file_that_cannot_be_written_is_named(called: Called, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    one_line(called("token", OUT=str(tmp_path / "file" / "token")), 2, "pass OUT=file")


@pytest.mark.parametrize("seconds", ["599", "ten"])
def test_a_life_that_no_server_gives_is_refused(called: Called, seconds: str) -> None:
    one_line(called("token", DURATION_SECONDS=seconds), 2, "pass DURATION_SECONDS=…")


def test_without_a_kubeconfig_it_says_what_to_set(called: Called, kubeconfig: Path) -> None:
    kubeconfig.unlink()
    done = called("token")
    one_line(done, 1, "Kubernetes: expected a kubeconfig", "; set KUBECONFIG")
