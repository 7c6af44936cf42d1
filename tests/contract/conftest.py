"""The real `tally` command in this process, against a server that replays a real one's answers."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from helpers.contract.done import Done
from helpers.contract.replay import Replay, serving
from tally import cli
from tally.runs.kubeflow import creating, watching


@pytest.fixture
def replay() -> Iterator[Replay]:
    with serving(Replay()) as server:
        yield server


@pytest.fixture
def run_tally(
    replay: Replay, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> Callable[..., Done]:  # fmt: skip
    """Run a command with KFP_HOST set to the replay; there is no kubeconfig."""
    from kubernetes.config import kube_config

    for name in list(os.environ):
        if name.startswith("KFP_") or name in ("ENGINE", "SET", "JSON", "KUBERNETES_SERVICE_HOST"):
            monkeypatch.delenv(name)
    monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "kubeconfig"))
    monkeypatch.setenv("KFP_HOST", replay.host)
    monkeypatch.setattr(watching, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(creating, "_LOOKS_SECONDS", (0.01, 0.02, 0.05))
    monkeypatch.setattr(creating, "_LOOK_REQUEST_SECONDS", 1.0)

    def run(*arguments: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["tally", *arguments])
        with pytest.raises(SystemExit) as end:
            cli.main()
        said = capsys.readouterr()
        return Done(int(end.value.code or 0), said.out, said.err)

    return run


@pytest.fixture
def kubeconfig(tmp_path: Path, replay: Replay, run_tally: object) -> Path:
    """A kubeconfig whose API server is the replay."""
    path = tmp_path / "kubeconfig"
    path.write_text(
        f"""
apiVersion: v1
kind: Config
clusters: [{{name: test, cluster: {{server: "{replay.host}"}}}}]
users: [{{name: me, user: {{token: mine}}}}]
contexts: [{{name: test, context: {{cluster: test, user: me}}}}]
current-context: test
"""
    )
    return path
