import contextlib
import http.server
import io
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from helpers.ports import HeldPort
from tally import buckets, storage
from tally.data import registry
from tally.data.format import open_dataset
from tally.errors import DataError, RunError
from tally.spec import Spec

EMULATOR = """
import sys
from gcp_storage_emulator.server import create_server
server = create_server("127.0.0.1", 0, data_dir=sys.argv[1])
server.start()
print(server._api._httpd.server_address[1], flush=True)
sys.stdin.read()
server.stop()
"""


@pytest.fixture(scope="module")
def emulator(tmp_path_factory) -> Iterator[tuple[str, Path]]:
    """Its address and the folder that it keeps objects in."""
    kept = tmp_path_factory.mktemp("emulator")
    process = subprocess.Popen(
        [sys.executable, "-c", EMULATOR, str(kept)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    yield f"http://127.0.0.1:{int(process.stdout.readline())}", kept
    process.communicate(timeout=30)  # its input ends, so it does


@pytest.fixture
def bucket(emulator, monkeypatch, request):
    """A bucket of this test's own in the emulator."""
    from google.cloud import storage as gcs

    monkeypatch.setenv("STORAGE_EMULATOR_HOST", emulator[0])
    name = f"bucket-{abs(hash(request.node.name)) % 10**9}"
    return gcs.Client.create_anonymous_client().create_bucket(name)


def upload(bucket, name: str, data: bytes) -> str:
    bucket.blob(name).upload_from_string(data, retry=None)
    return f"gs://{bucket.name}/{name}"


def archive(seed: int = 0) -> bytes:
    random = np.random.default_rng(seed)
    arrays = {}
    for split, count in (("train", 30), ("test", 9)):
        arrays[f"x_{split}"] = random.integers(0, 256, (count, 5, 5), dtype=np.uint8)
        arrays[f"y_{split}"] = np.arange(count) % 3
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def cached(home: Path) -> list[Path]:
    return [path for path in (home / "cache").rglob("*") if path.is_file()]


def test_an_object_is_fetched_once_a_generation(bucket, tally_home):
    url = upload(bucket, "some/set.npz", b"first")
    path, facts = buckets.fetch(url)
    assert (path.name, path.read_bytes()) == ("set.npz", b"first")
    assert facts["objects"][0]["bytes"] == 5
    modified = path.stat().st_mtime_ns
    assert buckets.fetch(url) == (path, facts)
    assert path.stat().st_mtime_ns == modified
    upload(bucket, "some/set.npz", b"other")
    other, changed = buckets.fetch(url)
    assert other != path and other.read_bytes() == b"other"
    assert changed["objects"][0]["version"] != facts["objects"][0]["version"]


def test_a_prefix_becomes_a_folder(bucket):
    for name in ("pets/cat/1.png", "pets/cat/2.png", "pets/dog/1.png", "petshop/x"):
        upload(bucket, name, name.encode())
    path, facts = buckets.fetch(f"gs://{bucket.name}/pets/")
    found = sorted(str(file.relative_to(path)) for file in path.rglob("*") if file.is_file())
    assert found == ["cat/1.png", "cat/2.png", "dog/1.png"]
    assert (path / "dog/1.png").read_bytes() == b"pets/dog/1.png"
    assert sorted(entry["name"] for entry in facts["objects"]) == found


def test_an_object_overwritten_at_the_same_address_is_another_dataset(bucket):
    spec = Spec(dataset=upload(bucket, "set.npz", archive(0)))
    registry.check(spec)
    folder, reused = registry.prepare(spec)
    assert registry.prepare(spec) == (folder, True) and not reused
    dataset = open_dataset(folder)
    assert (dataset.meta.name, len(dataset.splits["train"])) == ("set", 30)
    assert dataset.source["url"] == spec.dataset
    upload(bucket, "set.npz", archive(1))
    other, reused = registry.prepare(spec)
    assert other != folder and not reused
    assert open_dataset(other).fingerprint != dataset.fingerprint


@pytest.mark.parametrize("name", ["nothing.npz", "no/prefix/"])
def test_a_missing_object_is_one_line(bucket, tally_home, name):
    with pytest.raises(DataError, match=r"expected an object or prefix, got nothing there; check"):
        buckets.fetch(f"gs://{bucket.name}/{name}")
    assert not cached(tally_home)


def test_a_missing_bucket_is_one_line(bucket):
    with pytest.raises(DataError, match=r"gs://nowhere-at-all/x: .* got no such bucket"):
        buckets.fetch("gs://nowhere-at-all/x")


def test_a_damaged_object_is_one_line_and_leaves_nothing(bucket, emulator, tally_home):
    url = upload(bucket, "set.npz", b"precious-bytes")
    kept = [
        f for f in emulator[1].rglob("*") if f.is_file() and f.read_bytes() == b"precious-bytes"
    ]
    assert kept
    for file in kept:
        file.write_bytes(b"precious-bytez")
    with pytest.raises(DataError, match=r"expected (CRC32C|whole data).*again"):
        buckets.fetch(url)
    assert not cached(tally_home)


@pytest.mark.timing
@pytest.mark.slow
def test_an_unreachable_endpoint_is_one_line_within_15_seconds(monkeypatch, tally_home):
    with HeldPort() as closed:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{closed.number}")
        started = time.monotonic()
        with pytest.raises(DataError, match=r"expected an answer from 127.* check the net"):
            registry.prepare(Spec(dataset="gs://bucket/set.npz"))
        assert time.monotonic() - started < 15


@contextlib.contextmanager
def answering(status: int, listing: dict | None = None) -> Iterator[str]:
    """A server that answers every request with `status`, as Google words it, or lists objects."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            lists = listing is not None and "/o?" in self.path
            self.send_response(status if lists or status != 200 else 404)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            error = {"error": {"message": "no storage.objects.get access"}}
            self.wfile.write(json.dumps(listing if lists else error).encode())

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.mark.parametrize("name", ["a/../../../evil", "a//b", "a/./b", "/etc/x", "a" * 300])
def test_an_object_name_that_could_leave_the_cache_is_refused(monkeypatch, tally_home, name):
    entry = {"name": f"set/{name}", "generation": "1", "size": "1", "crc32c": "AAAAAA=="}
    with answering(200, {"items": [{**entry, "bucket": "bucket"}]}) as address:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", address)
        with pytest.raises(DataError, match="object names that can be file names"):
            buckets.fetch("gs://bucket/set")
    assert not cached(tally_home)


def test_a_forbidden_object_is_one_line(monkeypatch):
    with answering(403) as address:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", address)
        with pytest.raises(DataError, match=r"expected permission.*grant your account") as caught:
            buckets.fetch("gs://bucket/set.npz")
    assert "\n" not in str(caught.value)


@pytest.mark.timing
@pytest.mark.slow
def test_a_server_that_only_fails_is_one_line_within_15_seconds(monkeypatch):
    with answering(503) as address:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", address)
        started = time.monotonic()
        with pytest.raises(DataError, match=r"expected an answer from") as caught:
            buckets.fetch("gs://bucket/set.npz")
        assert time.monotonic() - started < 15
    assert "\n" not in str(caught.value)


def test_missing_credentials_are_one_line(monkeypatch, tmp_path):
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    with pytest.raises(DataError, match=r"expected Google credentials.*gcloud auth") as caught:
        buckets.fetch("gs://bucket/set.npz")
    assert "\n" not in str(caught.value)


FULL = """
import resource, sys
from tally import buckets
from tally.errors import RunError
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    buckets.fetch(sys.argv[1])
except RunError as error:
    print(error)
"""


def test_a_full_disk_while_fetching_is_one_line_and_leaves_nothing(bucket, tally_home):
    url = upload(bucket, "big", bytes(3_000_000))
    done = subprocess.run(
        [sys.executable, "-c", FULL, url], capture_output=True, text=True, timeout=60
    )
    assert done.stdout.count("\n") == 1, done.stderr
    assert "expected room to write" in done.stdout
    assert not cached(tally_home)


def test_an_atomic_file_appears_whole_or_not_at_all(tmp_path):
    with pytest.raises(ZeroDivisionError), storage.atomic_file(tmp_path / "f") as file:
        file.write(b"half")
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []
    with storage.atomic_file(tmp_path / "f") as file:
        file.write(b"whole")
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


def test_a_full_disk_is_told_with_its_place(tmp_path):
    with pytest.raises(RunError, match="expected room to write"), storage.disk(tmp_path):
        raise OSError(28, os.strerror(28))


def test_only_one_holds_a_lock_at_a_time_and_its_file_goes(tmp_path):
    lock, inside, most = tmp_path / ".lock", [], []

    def hold():
        for _ in range(200):
            with storage.exclusive(lock):
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=hold) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert (len(most), max(most)) == (800, 1)
    assert not lock.exists()
