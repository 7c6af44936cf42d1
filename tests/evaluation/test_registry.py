"""A registry keeps every version whole and its champion true, whoever dies or comes at once."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tally.errors import DataError, SchemaError, SpecError
from tally.evaluation.registry import Registry, model_name

MODEL = "cnn-digits"
LINEAGE = {"run": "r1", "metrics": {"test_accuracy": 0.9}}


def file_of(folder: Path, content: bytes = b"weights") -> dict[str, Path]:
    path = folder / "model.tflite"
    path.write_bytes(content)
    return {path.name: path}


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "registry")


def test_a_version_keeps_its_files_lineage_and_checksums(registry: Registry, tmp_path: Path):
    version = registry.add(MODEL, file_of(tmp_path), LINEAGE)
    assert registry.versions(MODEL) == [version.name]
    assert registry.models() == [MODEL]
    assert registry.version(MODEL, version.name) == version
    assert version.lineage == LINEAGE and version.files["model.tflite"]["bytes"] == 7
    assert (registry.fetch(version, tmp_path / "got") / "model.tflite").read_bytes() == b"weights"
    assert registry.add(MODEL, file_of(tmp_path), LINEAGE).name != version.name


def test_nobody_is_champion_until_one_is_promoted(registry: Registry, tmp_path: Path):
    assert registry.champion(MODEL) is None and registry.models() == []
    version = registry.add(MODEL, file_of(tmp_path), LINEAGE)
    assert registry.champion(MODEL) is None
    assert not registry.promote(version, "20260101T000000-000000000000", "r1")
    assert registry.promote(version, None, "r1")
    assert registry.champion(MODEL) == version
    assert not registry.promote(version, None, "r1")


def test_a_rollback_goes_back_one_champion_and_then_another(registry: Registry, tmp_path: Path):
    with pytest.raises(SpecError, match="expected a champion, got none yet"):
        registry.rollback(MODEL, None, "me")
    names, before = [], None
    for run in ("r1", "r2", "r3"):
        version = registry.add(MODEL, file_of(tmp_path, run.encode()), {"run": run})
        assert registry.promote(version, before, run)
        before = version.name
        names.append(version.name)
    assert registry.rollback(MODEL, None, "me").name == names[1]
    assert registry.rollback(MODEL, None, "me").name == names[0]
    with pytest.raises(SpecError, match="expected an earlier champion than"):
        registry.rollback(MODEL, None, "me")
    pointer = registry.pointer(MODEL)
    assert pointer.now.version == names[0] and pointer.before == ()
    assert [reign.version for reign in pointer.undone] == [names[2], names[1]]
    assert registry.rollback(MODEL, names[2], "me").name == names[2]
    assert registry.versions(MODEL) == sorted(names)


def test_a_damaged_version_is_named_with_what_to_do(registry: Registry, tmp_path: Path):
    version = registry.add(MODEL, file_of(tmp_path), LINEAGE)
    registry.promote(version, None, "r1")
    place = registry.place / MODEL / "versions" / version.name
    (place / "model.tflite").write_bytes(b"rotten!")
    with pytest.raises(DataError, match=r"model.tflite: expected SHA-256 .* `tally rollback cnn-"):
        registry.fetch(version, tmp_path / "got")
    (place / "model.tflite").unlink()
    with pytest.raises(DataError, match=r"expected a file of the version, got none"):
        registry.fetch(version, tmp_path / "got")
    (place / "version.json").write_text("{")
    with pytest.raises(DataError, match="expected a version's description"):
        registry.champion(MODEL)
    (place / "version.json").write_text(json.dumps({"schema": 9}))
    with pytest.raises(SchemaError, match="expected schema version 1 or older, got 9"):
        registry.champion(MODEL)
    (place / "version.json").unlink()
    with pytest.raises(DataError, match="expected a complete version, got none"):
        registry.champion(MODEL)
    (registry.place / MODEL / "champion.json").write_text("[]")
    with pytest.raises(DataError, match="expected a champion's pointer"):
        registry.champion(MODEL)


@pytest.mark.parametrize("name", ["../other", "", "a/b", ".hidden", "UPPER", "x" * 128])
def test_a_name_that_could_lead_elsewhere_is_refused(registry: Registry, name: str) -> None:
    with pytest.raises(SpecError, match="expected a model's name"):
        registry.champion(name)
    with pytest.raises(SpecError, match="expected a version"):
        registry.version(MODEL, f"../{name}")


def test_pipelines_and_datasets_make_a_models_name() -> None:
    assert model_name("cnn", "digits") == "cnn-digits"
    assert model_name("My Pipe", "gs://Bucket/Some Set/") == "my-pipe-gs-bucket-some-set"
    assert model_name("///", "…") == "model"


KILLED = """
import json, os, signal, sys
from pathlib import Path
from tally.evaluation.registry import Registry

registry, file = Registry(Path(sys.argv[1])), Path(sys.argv[2])
NAMES = ("open", "os.", "shutil.", "tempfile.", "fcntl.")
first = registry.add("m", {"model.tflite": file}, {"run": "first"})
assert registry.promote(first, None, "first")
registry.models(), registry.versions("m")
at, deaths, champions = 0, 0, set()
while True:
    at += 1
    child = os.fork()
    if child == 0:
        seen = 0
        def hook(event, arguments):
            global seen
            if event.startswith(NAMES):
                seen += 1
                if seen == at:
                    os.kill(os.getpid(), signal.SIGKILL)
        before = registry.pointer("m").now.version
        sys.addaudithook(hook)
        added = registry.add("m", {"model.tflite": file}, {"run": str(at)})
        won = registry.promote(added, before, str(at))
        os._exit(0 if won else 3)
    _, status = os.waitpid(child, 0)
    version = registry.champion("m")
    registry.fetch(version, Path(sys.argv[1]).with_name("got"))
    for name in registry.versions("m"):
        registry.fetch(registry.version("m", name), Path(sys.argv[1]).with_name("got"))
    champions.add(version.name)
    if os.WIFEXITED(status):
        assert os.WEXITSTATUS(status) == 0, status
        break
    deaths += 1
assert version.lineage["run"] == str(at)
history = registry.pointer("m")
assert len({*(r.version for r in history.before), history.now.version}) == len(champions)
print(json.dumps({"deaths": deaths, "champions": len(champions)}))
"""


def test_a_kill_at_any_point_of_a_promotion_leaves_a_whole_champion(tmp_path: Path) -> None:
    file_of(tmp_path, b"x" * 5000)
    ended = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "registry"), str(tmp_path / "model.tflite")],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr[-3000:]
    found = json.loads(ended.stdout)
    assert found["deaths"] >= 15
    assert 2 <= found["champions"] <= found["deaths"]


CONTENDER = """
import sys
from pathlib import Path
from tally.evaluation.registry import Registry
from tally.storage import location

registry, file = Registry(location(sys.argv[1])), Path(sys.argv[2])
added = registry.add("m", {"model.tflite": file}, {"run": sys.argv[3]})
print("ready", flush=True)
for line in sys.stdin:
    expected = line.strip() or None
    print(added.name, registry.promote(added, expected, sys.argv[3]), flush=True)
"""


def rounds(place: str, file: Path, contenders: int, count: int) -> None:
    """Let several processes promote against the same champion; one wins, none is lost."""
    from tally.storage import location

    processes = [
        subprocess.Popen(
            [sys.executable, "-c", CONTENDER, place, str(file), f"run-{k}"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for k in range(contenders)
    ]  # fmt: skip
    try:
        assert all(process.stdout.readline() == "ready\n" for process in processes)
        registry, expected, winners = Registry(location(place)), None, []
        with ThreadPoolExecutor(contenders) as pool:
            for _ in range(count):

                def ask(process: subprocess.Popen, expected: str | None = expected) -> list[str]:
                    process.stdin.write(f"{expected or ''}\n")
                    process.stdin.flush()
                    return process.stdout.readline().split()

                answers = list(pool.map(ask, processes))
                won = [name for name, answer in answers if answer == "True"]
                assert len(won) == 1, answers
                expected = registry.champion("m").name
                assert won == [expected]
                winners.append(expected)
        pointer = registry.pointer("m")
        assert [*(r.version for r in pointer.before), pointer.now.version] == winners
        assert len(registry.versions("m")) == contenders
    finally:
        for process in processes:
            process.stdin.close()
            process.wait(timeout=30)


def test_of_promotions_at_once_one_wins_and_none_is_lost(tmp_path: Path) -> None:
    file_of(tmp_path)
    rounds(str(tmp_path / "registry"), tmp_path / "model.tflite", contenders=6, count=8)


EMULATOR = """
import sys, threading
from http import HTTPStatus
from gcp_storage_emulator.handlers import objects

# The emulator knows no ifGenerationMatch: as Google documents it, 412 where it is another.
one_at_a_time, plain = threading.Lock(), objects.insert
def insert(request, response, storage, *arguments, **more):
    with one_at_a_time:
        wanted = request.query.get("ifGenerationMatch", [None])[0]
        if wanted is not None:
            name = request.query.get("name", [request.data["meta"].get("name")])[0]
            try:
                found = storage.get_file_obj(request.params["bucket_name"], name)["generation"]
            except Exception:
                found = "0"
            if str(found) != wanted:
                response.status = HTTPStatus.PRECONDITION_FAILED
                response.json({"error": {"code": 412, "message": "conditionNotMet"}})
                return
        return plain(request, response, storage, *arguments, **more)
objects.insert = insert
from gcp_storage_emulator.server import create_server
server = create_server("127.0.0.1", 0, data_dir=sys.argv[1])
server.start()
print(server._api._httpd.server_address[1], flush=True)
sys.stdin.read()
server.stop()
"""


@pytest.fixture
def emulator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    process = subprocess.Popen(
        [sys.executable, "-c", EMULATOR, str(tmp_path / "kept")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    monkeypatch.setenv(
        "STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{process.stdout.readline()[:-1]}"
    )
    from google.cloud import storage as gcs

    gcs.Client.create_anonymous_client().create_bucket("models")
    yield "gs://models/kept"
    process.communicate(timeout=30)


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch):
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    boto3.client("s3", region_name="us-east-1").create_bucket(Bucket="models")
    yield "s3://models/kept"
    server.stop()


@pytest.mark.parametrize("store", ["emulator", "s3"])
def test_a_bucket_keeps_versions_and_one_champion(store: str, tmp_path: Path, request) -> None:
    from tally.storage import location

    place = request.getfixturevalue(store)
    registry = Registry(location(place))
    assert registry.champion(MODEL) is None and registry.models() == []
    first = registry.add(MODEL, file_of(tmp_path, b"one"), LINEAGE)
    second = registry.add(MODEL, file_of(tmp_path, b"two"), LINEAGE)
    assert registry.promote(first, None, "r1")
    assert not registry.promote(second, None, "r2")
    assert registry.promote(second, first.name, "r2")
    assert registry.champion(MODEL) == second and registry.models() == [MODEL]
    assert registry.versions(MODEL) == sorted([first.name, second.name])
    assert (registry.fetch(second, tmp_path / "got") / "model.tflite").read_bytes() == b"two"
    assert registry.rollback(MODEL, None, "me") == first
    rounds(f"{place}/others", tmp_path / "model.tflite", contenders=3, count=3)
