"""A dataset's files come whole to workers that share no storage; TLS hides token and data."""

import contextlib
import hashlib
import ipaddress
import random
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
import xxhash
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from helpers.gang.coordinator_gang import Heard, Trainee, until
from helpers.gang.coordinator_process import TOKEN
from tally.errors import RunError
from tally.gang.coordinator import coordinator_pb2 as pb
from tally.gang.coordinator import wire
from tally.gang.coordinator.client import Member
from tally.gang.coordinator.events import Generation
from tally.gang.coordinator.server import Coordinator, Limits, Tls

SIZE_BYTES = 50_000_123


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "dataset"
    (made / "train").mkdir(parents=True)
    (made / "train" / "x.npy").write_bytes(random.Random(1).randbytes(SIZE_BYTES))
    (made / "empty").write_bytes(b"")
    (tmp_path / "secret").write_text("not yours")
    (made / "link").symlink_to(tmp_path / "secret")
    return made


@pytest.fixture
def make(folder: Path) -> Iterator[Callable[..., Coordinator]]:
    with contextlib.ExitStack() as stack:

        def begin(**options: Any) -> Coordinator:
            options = {"workers": 1, "dataset_folder": folder} | options
            coordinator = Coordinator(TOKEN, {}, Heard(), **options)
            stack.callback(coordinator.close)
            return coordinator

        yield begin


@pytest.fixture
def member(make: Callable[..., Coordinator]) -> Iterator[Member]:
    made = Member(make().address, TOKEN, "0", "u")
    made.join()
    yield made
    made.close()


def digest(pieces: Iterator[bytes]) -> str:
    made = hashlib.sha256()
    for piece in pieces:
        made.update(piece)
    return made.hexdigest()


def test_a_file_comes_whole(member: Member, folder: Path) -> None:
    began = time.monotonic()
    found = digest(member.fetch("train/x.npy"))
    print(f"fetch: {SIZE_BYTES / 1e6 / (time.monotonic() - began):.0f} MB/s, hashing included")
    assert found == hashlib.sha256((folder / "train" / "x.npy").read_bytes()).hexdigest()
    assert b"".join(member.fetch("empty")) == b""


def test_a_cut_stream_goes_on_where_it_was(
    member: Member, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offsets: list[int] = []
    call = wire.call

    class Cut:
        """A connection that breaks after the tenth piece."""

        def __init__(self, stream: Any) -> None:
            self.stream, self.pieces = stream, 0

        def __iter__(self) -> Iterator[Any]:
            for piece in self.stream:
                yield piece
                self.pieces += 1
                if self.pieces == 10:
                    self.stream.cancel()

        def cancel(self) -> None:
            self.stream.cancel()

    def cutting(channel: Any, name: str) -> Any:
        def begin(request: Any, **options: Any) -> Any:
            offsets.append(request.offset)
            return Cut(call(channel, name)(request, **options))

        return begin

    monkeypatch.setattr(wire, "call", cutting)
    found = digest(member.fetch("train/x.npy"))
    assert found == hashlib.sha256((folder / "train" / "x.npy").read_bytes()).hexdigest()
    assert len(offsets) > 3 and offsets == sorted(set(offsets))


def test_a_damaged_piece_is_fetched_again(
    member: Member, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call, damaged = wire.call, []

    def damaging(channel: Any, name: str) -> Any:
        def begin(request: Any, **options: Any) -> Any:
            stream = call(channel, name)(request, **options)

            class Damaged:
                def __iter__(self) -> Iterator[Any]:
                    for number, piece in enumerate(stream):
                        if number == 4 and len(damaged) < 3:
                            damaged.append(request.offset)
                            piece.data = b"?" + piece.data[1:]
                        yield piece

                def cancel(self) -> None:
                    stream.cancel()

            return Damaged()

        return begin

    monkeypatch.setattr(wire, "call", damaging)
    found = digest(member.fetch("train/x.npy"))
    assert found == hashlib.sha256((folder / "train" / "x.npy").read_bytes()).hexdigest()
    assert len(damaged) == 3


@pytest.mark.parametrize(
    "name",
    ["../secret", "train/../../secret", "link", "/etc/hostname", "train", "none", "", "a\0b"],
)
def test_names_that_climb_out_are_refused(member: Member, name: str) -> None:
    with pytest.raises(RunError, match="NOT_FOUND: expected a file of the dataset folder"):
        list(member.fetch(name))


def test_an_offset_past_the_end_is_the_end_and_checksums_are_of_each_piece(
    make: Callable[..., Coordinator],
) -> None:
    channel = wire.open_channel(make().address, None)
    fetch = wire.call(channel, "Fetch")
    request = pb.FetchRequest(name="train/x.npy", offset=10**12)
    (last,) = fetch(request, metadata=wire.bearer(TOKEN))
    assert (last.data, last.total_bytes) == (b"", SIZE_BYTES)
    request = pb.FetchRequest(name="train/x.npy", offset=SIZE_BYTES - 5)
    first, _ = fetch(request, metadata=wire.bearer(TOKEN))
    assert len(first.data) == 5 and first.checksum == xxhash.xxh3_64_intdigest(first.data)
    channel.close()


@pytest.fixture
def stall() -> Iterator[Callable[[Coordinator], list[Any]]]:
    """So many readers as there is room for, each of which takes one piece and then no more."""
    with contextlib.ExitStack() as stack:

        def begin(coordinator: Coordinator) -> list[Any]:
            channel = wire.open_channel(coordinator.address, None)
            stack.callback(channel.close)
            fetch, request = wire.call(channel, "Fetch"), pb.FetchRequest(name="train/x.npy")
            streams = [fetch(request, metadata=wire.bearer(TOKEN)) for _ in range(2)]
            for stream in streams:
                next(stream)
            return [*streams, fetch(request, metadata=wire.bearer(TOKEN))]

        yield begin


def test_one_reader_too_many_is_refused(
    make: Callable[..., Coordinator], stall: Callable[[Coordinator], list[Any]]
) -> None:
    *_, third = stall(make(limits=Limits(fetches=2)))
    with pytest.raises(grpc.RpcError) as caught:
        next(third)
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


def test_readers_that_stall_are_cut_off_and_make_room(
    make: Callable[..., Coordinator], stall: Callable[[Coordinator], list[Any]]
) -> None:
    coordinator = make(limits=Limits(fetches=2, fetch_stalled_seconds=0.5))
    *stalled, _ = stall(coordinator)
    member = Member(coordinator.address, TOKEN, "0", "u")
    member.join()
    assert len(b"".join(member.fetch("train/x.npy"))) == SIZE_BYTES  # it tries again until then
    member.close()
    for stream in stalled:
        with pytest.raises(grpc.RpcError) as caught:
            list(stream)
        assert caught.value.code() == grpc.StatusCode.CANCELLED


@pytest.fixture(scope="module")
def tls() -> Tls:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "coordinator")])
    here = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(here, critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return Tls(private, certificate.public_bytes(pem))


def test_tls_there_and_back(make: Callable[..., Coordinator], tls: Tls) -> None:
    coordinator = make(tls=tls)
    worker = Trainee(coordinator, "0", tls_ca=tls.certificate)
    assert isinstance(worker.order(), Generation)
    until(lambda: worker.step > 5)
    coordinator.stop()
    assert worker.order().order == "stop"
    worker.close()


def test_without_the_certificate_nobody_talks(make: Callable[..., Coordinator], tls: Tls) -> None:
    coordinator = make(tls=tls)
    plain = Member(coordinator.address, TOKEN, "0", "u")
    with pytest.raises(RunError, match="expected to be let in"):
        plain.join(1.0)
    plain.close()
    other = make()
    trusting = Member(other.address, TOKEN, "0", "u", tls_ca=tls.certificate)
    with pytest.raises(RunError, match="expected to be let in"):
        trusting.join(1.0)
    trusting.close()
