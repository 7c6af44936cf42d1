"""Bad input gets one line (expected, got, remedy), exit code 2 or 1, and leaves nothing behind."""

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from helpers.command import QUICK, TALLY, submit_json, tally


def refused(*arguments: str, code: int = 2, **environment: str) -> str:
    """Run a command that must fail; its one line."""
    done = tally(*arguments, **environment)
    assert done.returncode == code, (done.stdout, done.stderr)
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, done.stderr
    return lines[0]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        pytest.param(["submit", "cmn"], ["cnn, rnn", "'cmn'", "did you mean"], id="pipeline"),
        pytest.param(["submit", "no/such.py"], ["no/such.py", "no such file"], id="file"),
        pytest.param(["submit", "cnn", "--set", "epoch=3"], ["mean epochs"], id="parameter"),
        pytest.param(
            ["submit", "cnn", "--set", "epochs=0"], ["epochs must be", "got 0"], id="zero"
        ),
        pytest.param(["submit", "cnn", "--set", "epochs"], ["name=value"], id="no value"),
        pytest.param(
            ["submit", "cnn", "--set", "api_token=x"], ["secret", "environment"], id="secret"
        ),
        pytest.param(["submit", "cnn", "--set", "dataset=no/such"], ["no/such"], id="missing data"),
        pytest.param(["submit", "cnn", "--set", "dataset=digit"], ["digits"], id="dataset"),
        pytest.param(["submit", "cnn", "--set", "model=lstn"], ["mean lstm"], id="model"),
        pytest.param(["submit", "cnn", "--engine", "cluster"], ["ENGINE"], id="engine"),
        pytest.param(
            ["submit", "cnn", "--set", "machine_type=n2-standard-4"], ["this machine"], id="machine"
        ),
        pytest.param(["bill", "nosuchrun"], ["nosuchrun"], id="run"),
        pytest.param(["compare", "a"], ["two runs or more"], id="compare"),
        pytest.param(["sumbit"], ["sumbit"], id="command"),
    ],
)
def test_a_mistake_is_one_line_and_makes_no_run(
    arguments: list[str], says: list[str], tally_home: Path
) -> None:
    line = refused(*arguments)
    for words in says:
        assert words in line
    assert not list((tally_home / "runs").glob("*"))


def test_a_price_that_is_no_price_is_refused() -> None:
    assert "TALLY_PRICE_PER_HOUR" in refused("submit", "cnn", TALLY_PRICE_PER_HOUR="-1")


def failed_in_step(*arguments: str, code: int, **environment: str) -> str:
    """Run a submit whose step must fail; the line that says why."""
    done = tally("submit", *arguments, **environment)
    assert done.returncode == code, (done.stdout, done.stderr)
    return next(line for line in done.stderr.splitlines() if line.startswith("failed: "))


def test_shapes_that_do_not_fit_the_model(tmp_path: Path) -> None:
    tiny = np.arange(16, dtype=np.uint8).reshape(4, 2, 2)
    labels = np.array([0, 1, 0, 1])
    source = tmp_path / "tiny.npz"
    np.savez(source, x_train=tiny, y_train=labels, x_test=tiny, y_test=labels)
    line = refused("submit", "cnn", "--set", f"dataset={source}")
    assert "expected" in line and "2" in line


@pytest.mark.slow
def test_a_corrupt_shard_is_named(tally_home: Path) -> None:
    submit_json("cnn", *QUICK)
    shard = next((tally_home / "datasets").glob("*/train-*-x.npy"))
    damaged = bytearray(shard.read_bytes())
    damaged[-1] ^= 1
    shard.chmod(0o644)
    shard.write_bytes(damaged)
    line = failed_in_step("cnn", *QUICK, code=2)
    assert shard.name in line and "run again" in line


@pytest.mark.slow
def test_an_unreachable_bucket_is_one_line() -> None:
    nobody = "http://127.0.0.1:1"
    line = refused(
        "submit", "cnn", "--set", "dataset=gs://no-such/digits.npz", STORAGE_EMULATOR_HOST=nobody
    )
    assert "gs://no-such" in line


@pytest.mark.slow
def test_nan_loss_names_the_step_and_the_learning_rate(tmp_path: Path) -> None:
    example = (Path(__file__).parents[2] / "examples" / "mine.py").read_text()
    wild = tmp_path / "wild.py"
    wild.write_text(
        example
        + """

def model():
    import keras

    made = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, activation="softmax")])
    made.compile(keras.optimizers.SGD(1e38), "sparse_categorical_crossentropy")
    return made
"""
    )
    line = failed_in_step(str(wild), code=1)
    assert "step" in line and "learning rate" in line.replace("_", " ")


def test_no_permission_on_the_home(tmp_path: Path) -> None:
    home = tmp_path / "closed"
    home.mkdir(mode=0o500)
    # root passes permission checks by its capabilities: take them away
    drop = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] * (os.geteuid() == 0)
    done = subprocess.run(
        [*drop, *TALLY, "submit", "cnn"],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "TALLY_HOME": str(home)},
    )
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    assert "TALLY_HOME" in done.stderr and str(home) in done.stderr


@pytest.mark.parametrize("size", ["100k", "3m", pytest.param("33m", marks=pytest.mark.slow)])
def test_a_full_disk_is_one_line_and_nothing_is_half_written(size: str, tmp_path: Path) -> None:
    """100k: the ledger does not fit; 3m: the dataset; 33m: the checkpoint."""
    home = tmp_path / "small"
    home.mkdir()
    mount = f"mount -t tmpfs -o size={size} tally-test {home}"
    command = " ".join([*TALLY, "submit cnn --set epochs=1; echo code $?; "])
    left = f"find {home} -name '*.tmp' -o -name '.*.tmp' | sed 's/^/left /'; df {home} >&2"
    assert shutil.which("unshare")
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", f"{mount} && {{ {command} {left}; }}"],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "TALLY_HOME": str(home)},
    )
    if "Operation not permitted" in done.stderr:
        pytest.skip("user namespaces are closed here: sysctl kernel.unprivileged_userns_clone=1")
    assert "code 1" in done.stdout, (done.stdout, done.stderr)
    assert "room to write" in done.stderr or "full" in done.stderr, done.stderr
    assert "Traceback" not in done.stderr
    assert "left " not in done.stdout


@pytest.mark.slow
def test_make_passes_values_on_as_they_are(tmp_path: Path) -> None:
    """Nothing in a value is run or expanded, by make or by a shell."""
    trap = tmp_path / "trap"
    for hostile in (f"$(shell touch {trap})", f"`touch {trap}`", f"$$(touch {trap})", "a$b;c"):
        done = subprocess.run(
            ["make", "--no-print-directory", "submit", f"PIPELINE={hostile}"],
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 2
        assert repr(hostile) in done.stderr, done.stderr
    assert not trap.exists()


def test_set_is_split_as_a_shell_splits() -> None:
    quoted = refused("submit", "cnn", SET="dataset='/no/such folder/x.csv' epochs=1")
    assert "/no/such folder/x.csv" in quoted
    assert "quotation" in refused("submit", "cnn", SET="dataset='open").lower()


def test_a_tilde_is_the_users_home(tmp_path: Path) -> None:
    line = refused("submit", "cnn", "--set", "dataset=~/none.csv", HOME=str(tmp_path))
    assert "none.csv" in line
