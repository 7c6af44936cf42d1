"""A host that does not answer, is another server, or shows a certificate of nobody: one line."""

import datetime
import ipaddress
import socket
import ssl
import threading
import time
from pathlib import Path

import pytest

from helpers.contract.done import one_line
from helpers.contract.replay import Replay
from helpers.ports import HeldPort
from tally.runs.kubeflow import connection

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("host", ["http://127.0.0.1:{port}", "http://no-such-host.invalid"])
def test_a_host_that_does_not_answer(run_tally, monkeypatch, host: str) -> None:
    monkeypatch.setattr(connection, "FIRST_SECONDS", 1.0)
    with HeldPort() as closed:
        monkeypatch.setenv("KFP_HOST", host.format(port=closed.number))
        began = time.monotonic()
        done = run_tally("submit", "cnn")
    one_line(done, 2, "KFP_HOST: expected Kubeflow Pipelines at", "got no answer")
    assert " object at 0x" not in done.err
    assert time.monotonic() - began < 30


@pytest.mark.parametrize(
    "host",
    ["ftp://kubeflow.example", "kubeflow.example", "http://", "http://a b", "http://h:99999",
     "http://user:secret@kubeflow.example", "https://kubeflow.example/#/runs"],
)  # fmt: skip
def test_an_address_that_is_none(run_tally, monkeypatch, host: str) -> None:
    monkeypatch.setenv("KFP_HOST", host)
    done = run_tally("submit", "cnn")
    one_line(done, 2, "KFP_HOST: expected an address like https://")
    assert "secret" not in done.err


def test_another_server_at_that_address(run_tally, replay: Replay, monkeypatch) -> None:
    replay.kubernetes["/pipeline/apis/v2beta1/healthz"] = "<html>a dashboard</html>"
    monkeypatch.setenv("KFP_HOST", f"{replay.host}/pipeline/")
    one_line(run_tally("submit", "cnn"), 2, "which answers otherwise")


def test_a_login_page_is_not_followed(run_tally, replay: Replay) -> None:
    replay.faults["GET healthz"] = ["302"]
    one_line(run_tally("submit", "cnn"), 2, "a redirection (to a login", "pass a valid token")


def test_a_server_that_never_ends_its_answer(run_tally, monkeypatch) -> None:
    monkeypatch.setattr(connection, "FIRST_SECONDS", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip() -> None:
            held = []
            while True:
                try:
                    one, _ = server.accept()
                except OSError:
                    return
                held.append(one)  # accepted, never answered

        thread = threading.Thread(target=drip, daemon=True)
        thread.start()
        monkeypatch.setenv("KFP_HOST", f"http://127.0.0.1:{server.getsockname()[1]}")
        began = time.monotonic()
        one_line(run_tally("submit", "cnn"), 2, "no answer")
        assert time.monotonic() - began < 30
        server.shutdown(socket.SHUT_RDWR)
    thread.join(5)


def test_a_certificate_of_nobody_names_kfp_ca_and_with_it_is_taken(
    run_tally, monkeypatch, tmp_path: Path
) -> None:
    pem = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=shake_hands, args=(server, context), daemon=True)
        thread.start()
        monkeypatch.setattr(connection, "FIRST_SECONDS", 2.0)
        monkeypatch.setenv("KFP_HOST", f"https://127.0.0.1:{server.getsockname()[1]}")
        one_line(run_tally("submit", "cnn"), 2, "set KFP_CA to the PEM file")
        monkeypatch.setenv("KFP_CA", str(tmp_path / "none.pem"))
        one_line(run_tally("submit", "cnn"), 2, "KFP_CA: expected a file of PEM certificates")
        monkeypatch.setenv("KFP_CA", str(pem))
        one_line(run_tally("submit", "cnn"), 2, "which answers otherwise")
        server.shutdown(socket.SHUT_RDWR)
    thread.join(5)


def shake_hands(server: socket.socket, context: ssl.SSLContext) -> None:
    """An HTTPS server that is no Kubeflow."""
    while True:
        try:
            one, _ = server.accept()
        except OSError:
            return
        try:
            with context.wrap_socket(one, server_side=True) as secure:
                secure.recv(65536)
                secure.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
        except (ssl.SSLError, OSError):
            one.close()


def certificate(folder: Path) -> Path:
    """A key and a certificate for 127.0.0.1 that it has signed itself."""
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "server.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return path
