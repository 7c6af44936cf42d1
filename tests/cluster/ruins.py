"""[ROUNDS=10 SEED=…] ruins.py: each round kills the cluster with SIGKILL at a moment drawn by
chance, spoils what is left, brings it up again, and has one pod run there and be billed."""

import contextlib
import os
import random
import secrets
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import yaml

from helpers.cluster.metering import (
    MACHINES,
    OWN,
    MeterProcess,
    account,
    make_pod,
    run_of,
    step_pod,
    until_phase,
)
from helpers.cluster.objects import apply, labelled_nodes, until_true
from tally import __version__
from tally.costing.ledger import open_ledger
from tally.kube.cluster import Cluster

HERE = Path(__file__).parent
IMAGE = f"localhost/tally-meter:{__version__}"  # small, and it has Python
RUN = Path("/run/tally-containerd")
SECONDS_A_ROUND = 180.0
SHIM = "containerd-shim-runc-v2"
PORTS = (2379, 6443, 10250)


def shell(script: str) -> str:
    """What bash prints for it, with the functions of cluster.sh."""
    text = f". {HERE}/cluster.sh; {script}"
    return subprocess.run(["bash", "-c", text], stdout=subprocess.PIPE, text=True).stdout


def start(script: str, *words: str) -> "subprocess.Popen[str]":
    """One of the cluster's scripts, in a group of its own, to be killed with all it has called."""
    return subprocess.Popen(
        [HERE / script, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def up(count: int = 1) -> None:
    """Bring it up, by so many up.sh at once."""
    scripts = [start("up.sh") for _ in range(count)]
    said = [script.communicate(timeout=SECONDS_A_ROUND)[0] for script in scripts]
    assert not any(script.returncode for script in scripts), said


def loaded() -> None:
    """The pods' image is in containerd."""
    made = start("load.sh", IMAGE)
    said, _ = made.communicate(timeout=SECONDS_A_ROUND)
    assert made.returncode == 0, said


def administrator() -> Cluster:
    return Cluster(str(OWN / "kubeconfig"))


def step(name: str, do: str) -> dict[str, Any]:
    """A pod as that of a step, of the image that is loaded here."""
    pod = step_pod(name, do)
    for container in (*pod["spec"]["containers"], *pod["spec"]["initContainers"]):
        container["image"] = IMAGE
    return pod


def kill(script: "subprocess.Popen[str] | None", which: Callable[[str], bool]) -> None:
    """SIGKILL a script with all it has called, and of the cluster what is asked for."""
    if script is not None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(script.pid, signal.SIGKILL)
        script.communicate()
    for line in shell("ours").splitlines():
        number, _, name = line.partition(" ")
        if which(name):
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(number), signal.SIGKILL)


def namespace(cluster: Cluster) -> str:
    """One more, that nobody removes: the cluster is going to be killed."""
    name = f"tally-ruins-{secrets.token_hex(3)}"
    apply(cluster, {"kind": "Namespace", "metadata": {"name": name}})
    default = f"api/v1/namespaces/{name}/serviceaccounts?fieldSelector=metadata.name=default"
    until_true(lambda: cluster.request("GET", default)["items"], 20)
    return name


def pods(cluster: Cluster) -> None:
    """Some that last; the first of them runs, others may be at any point before."""
    name = namespace(cluster)
    for number in range(3):
        waiting = {"name": "main", "image": "localhost/pause:1", "imagePullPolicy": "Never"}
        pod = {"kind": "Pod", "metadata": {"name": f"pause-{number}"}}
        apply(cluster, pod | {"spec": {"containers": [waiting]}}, name)
    make_pod(cluster, name, step("works", "time.sleep(600)"))
    until_phase(cluster, name, "pause-0", "Running")


def billed(cluster: Cluster, folder: Path) -> Decimal:
    """What a pod costs that runs for two seconds, as the meter writes it."""
    (folder / "machines").mkdir(parents=True)
    (folder / "machines/own.yaml").write_text(MACHINES)
    name = namespace(cluster)
    with labelled_nodes(cluster, {"tally.dev/machine-type": "metered"}):
        for config in account(cluster, name):
            (folder / "kubeconfig").write_text(yaml.safe_dump(config))
            url = f"sqlite:///{folder}/ledger.db"
            given = {"TALLY_MACHINES": f"{folder}/machines", "TALLY_METER_REAPS": "-"}
            meter = MeterProcess(folder, folder / "kubeconfig", url, given)
            try:
                meter.start()
                uid = make_pod(cluster, name, step("billed", "time.sleep(2)"))
                until_phase(cluster, name, "billed", "Succeeded", seconds=90)
                rows = meter.until_closed(uid)[uid]
                assert all(row.end_microseconds for row in rows)
            finally:
                if meter.process is not None:
                    meter.kill()
            with open_ledger(url) as ledger:
                return sum((c.hardware_usd for c in ledger.pod_charges([run_of(name)])), Decimal(0))
    raise AssertionError


# when it is killed: each returns the script that runs then


def while_starting(rng: random.Random) -> "subprocess.Popen[str] | None":
    start("down.sh").communicate()
    script = start("up.sh")
    time.sleep(rng.uniform(0, 12))
    return script


def while_going_down(rng: random.Random) -> "subprocess.Popen[str] | None":
    script = start("down.sh")
    time.sleep(rng.uniform(0, 1.5))
    return script


def with_pods(rng: random.Random) -> "subprocess.Popen[str] | None":
    pods(administrator())
    time.sleep(rng.uniform(0, 4))
    return None


def while_an_image_is_loaded(rng: random.Random) -> "subprocess.Popen[str] | None":
    pods(administrator())
    digest = shell(f"client images ls | awk '$1 == \"{IMAGE}\" {{ print $3 }}'").strip()
    names = f"client images ls | awk '$3 == \"{digest}\" {{ print $1 }}'"
    shell(f"client images rm --sync $({names}) >/dev/null")
    script = start("load.sh", IMAGE)
    time.sleep(rng.uniform(0, 15))
    return script


MOMENTS = (while_starting, with_pods, while_an_image_is_loaded, while_going_down)


# what is done to what is left


def certificates_cut(rng: random.Random) -> None:
    for path in (OWN / "pki").glob("*"):
        os.truncate(path, path.stat().st_size // 2)


def certificates_expired(rng: random.Random) -> None:
    for path in (OWN / "pki").glob("*.crt"):
        words = f"-keyout {path.with_suffix('.key')} -out {path} -subj /CN=old"
        dates = "faketime '40 days ago'"
        shell(f"{dates} openssl req -x509 -newkey rsa:2048 -nodes -days 1 {words} 2>/dev/null")


def kubeconfig_cut(rng: random.Random) -> None:
    if (OWN / "kubeconfig").exists():
        os.truncate(OWN / "kubeconfig", rng.randrange(100))


def leases_held(rng: random.Random) -> None:
    folder = RUN / "leases/pods"
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(2, 255):
        (folder / f"10.88.0.{number}").write_text("nobody\r\neth0")
    (folder / "last_reserved_ip.0").write_text("10.88.")


def numbers_of_others(rng: random.Random) -> None:
    """Files of process numbers, as up.sh once kept them."""
    (OWN / "pids").mkdir(exist_ok=True)
    for name in ("containerd", "etcd", "apiserver", "kubelet"):
        (OWN / "pids" / name).write_text(f"{os.getpid()}\n")


def _blob(rng: random.Random) -> Path | None:
    found = sorted((OWN / "containerd/io.containerd.content.v1.content/blobs/sha256").glob("*"))
    return rng.choice(found) if found else None


def blob_lost(rng: random.Random) -> None:
    if path := _blob(rng):
        path.unlink()


def manifests_cut(rng: random.Random) -> None:
    folder = OWN / "containerd/io.containerd.content.v1.content/blobs/sha256"
    for path in folder.glob("*"):
        if path.stat().st_size < 10_000:
            os.truncate(path, 10)


def metadata_cut(rng: random.Random) -> None:
    path = OWN / "containerd/io.containerd.metadata.v1.bolt/meta.db"
    if path.exists():
        os.truncate(path, rng.choice((0, 4096, path.stat().st_size // 2)))


def program_half_built(rng: random.Random) -> None:
    (OWN / "bin/new").mkdir(exist_ok=True)
    (OWN / "bin/new/kube").write_bytes(b"\x7fELF")


SPOILING = (
    certificates_cut,
    certificates_expired,
    kubeconfig_cut,
    leases_held,
    numbers_of_others,
    blob_lost,
    manifests_cut,
    metadata_cut,
    program_half_built,
)


def is_refused(port: int) -> None:
    """Where somebody else has a port, up.sh says who and leaves them alone."""
    with socket.create_server(("127.0.0.1", port)) as other:
        script = start("up.sh")
        said, _ = script.communicate(timeout=60)
        expected = f"cluster: expected port {port} to be free, got "
        assert script.returncode == 2, said
        assert said.startswith(expected) and said.count("\n") == 1, said
        assert f"(pid {os.getpid()})" in said, said
        with socket.create_connection(other.getsockname()):
            pass


def one_round(moment: Callable[..., Any], rng: random.Random, folder: Path) -> str:
    """Kill, spoil, bring up; what was done."""
    which, killed = rng.choice(
        (
            ("all", lambda name: True),
            ("all but pods and their shims", lambda name: name not in ("pod", SHIM)),
            ("all but shims", lambda name: name != SHIM),
            ("a half", lambda name: rng.random() < 0.5),
        )
    )
    script = moment(rng)
    kill(script, killed)
    spoilt = rng.sample(SPOILING, rng.randint(0, 3))
    for spoil in spoilt:
        spoil(rng)
    done = [f"killed {which} {moment.__name__}", *(spoil.__name__ for spoil in spoilt)]
    if rng.random() < 0.4 and not shell(
        "ss -Hltn '( sport = :2379 or sport = :6443 or sport = :10250 )'"
    ):
        port = rng.choice(PORTS)
        is_refused(port)
        done.append(f"port {port} of another")
    begin = time.monotonic()
    count = rng.choice((1, 1, 2))
    up(count)
    done.append(f"up by {count} in {time.monotonic() - begin:.1f} s")
    loaded()
    charge = billed(administrator(), folder)
    assert charge > 0
    took = time.monotonic() - begin
    assert took < SECONDS_A_ROUND, f"expected {SECONDS_A_ROUND} s at most, got {took:.0f}"
    done.append(f"a pod billed ${charge:.2g} after {took:.1f} s")
    return ", ".join(done).replace("_", " ")


def main() -> None:
    rounds = int(os.environ.get("ROUNDS") or 10)
    seed = int(os.environ.get("SEED") or secrets.randbelow(10**6))
    os.environ["KUBECONFIG"] = str(OWN / "kubeconfig")
    # what it looks like from afar is not what it is
    disguise = f"exec -a '{OWN}/bin/kube-v1.34.4' sleep 100000"
    foreign = subprocess.Popen(["bash", "-c", disguise], stdout=subprocess.DEVNULL)
    try:
        begin = time.monotonic()
        up()
        loaded()
        print(f"seed {seed}: up and loaded in {time.monotonic() - begin:.1f} s", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            for number in range(rounds):
                begin = time.monotonic()
                rng = random.Random(f"{seed} {number}")
                moment = MOMENTS[number % len(MOMENTS)]
                said = one_round(moment, rng, Path(folder, str(number)))
                assert foreign.poll() is None, "expected another's process to live, got it killed"
                took = time.monotonic() - begin
                print(f"round {number + 1}/{rounds} seed {seed}: {said}; {took:.1f} s", flush=True)
    finally:
        foreign.kill()
        foreign.wait()


if __name__ == "__main__":
    main()
