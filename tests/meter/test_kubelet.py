"""What kubelets say of their pods, over real TLS; who does not answer holds nobody up."""

import asyncio
import datetime
import ipaddress
import itertools
import re
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tally.errors import SpecError
from tally.meter import kubelet
from tally.meter.kubelet import Kubelets, samples, trust

KUBELETS = Path(__file__).parent / "kubelets"
TEXT = (KUBELETS / "resource.txt").read_text()
KUBECONFIG = """
clusters: [{name: c, cluster: {server: "http://127.0.0.1:1"}}]
users: [{name: u, user: {token: a-token}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
"""


@pytest.fixture(autouse=True)
def account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config").write_text(KUBECONFIG)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A key and a certificate of a kubelet that signs for itself, for the name node-0."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "node-0")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("node-0")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    path = tmp_path / "kubelet.pem"
    path.write_bytes(key.private_bytes(pem, *plain) + made.public_bytes(pem))
    return path


@asynccontextmanager
async def serving(certificate: Path, answer: Any) -> AsyncIterator[int]:
    """A kubelet; its port."""
    app = web.Application()
    app.add_routes([web.get("/metrics/resource", answer)])
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    yield runner.addresses[0][1]
    await runner.cleanup()


def node(name: str, port: int, ip: str = "127.0.0.1") -> dict[str, Any]:
    ipaddress.ip_address(ip)
    addresses = [{"type": "InternalIP", "address": ip}, {"type": "Hostname", "address": name}]
    return {
        "metadata": {"name": name},
        "status": {"addresses": addresses, "daemonEndpoints": {"kubeletEndpoint": {"Port": port}}},
    }


async def says(request: web.Request) -> web.Response:
    assert request.headers["Authorization"] == "Bearer a-token"
    return web.Response(text=TEXT)


def test_a_real_kubelets_answer_has_each_pod_once() -> None:
    (sample,) = samples(TEXT)
    assert (sample.namespace, sample.name) == ("default", "burns")
    # its containers were looked at 5 s after itself, and had used 0.51 core-seconds more
    assert sample.at_microseconds == 1795576762416000
    assert sample.cpu_core_seconds == pytest.approx(2.485033918)
    assert sample.working_set_bytes == 10448896


def test_a_pod_of_which_only_half_is_said_is_left_out() -> None:
    text = TEXT.replace("memory_working_set_bytes{", "another{")
    assert samples(text) == []
    assert samples(text.replace("pod_cpu_usage", "another")) == []


def test_a_pod_at_whose_cgroup_it_has_not_looked_yet_is_what_its_containers_are() -> None:
    text = (KUBELETS / "new-pod.txt").read_text()  # burns-1 has used 2.1 core-seconds, 39 MB
    assert 'pod_cpu_usage_seconds_total{namespace="default",pod="burns-1"} 0 ' in text
    old, new = samples(text)
    assert (old.name, old.at_microseconds) == ("burns-0", 1796075135868000)
    assert (old.cpu_core_seconds, old.working_set_bytes) == (5.4273797, 40214528)
    assert (new.name, new.at_microseconds) == ("burns-1", 1796075135877000)
    assert new.cpu_core_seconds == pytest.approx(2.025696543 + 0.052759188)
    assert new.working_set_bytes == 36450304 + 3055616
    # main since its start at …130.230, wait since …130.075
    assert new.rate_cores == pytest.approx(2.025696543 / 5.647 + 0.052759188 / 5.799, rel=1e-3)
    started = text.replace("1.7960751302", "1.7960751349")  # main since …134.9
    assert started != text
    assert samples(started)[1].rate_cores == pytest.approx(0.052759188 / 5.799, rel=1e-3)


def test_neither_a_pod_nor_a_container_that_reads_nought_is_a_sample() -> None:
    text = (KUBELETS / "new-pod.txt").read_text()
    lines = [line for line in text.splitlines() if 'pod="burns-0"' not in line]
    nought = [re.sub(r"} [0-9.e+]+ (\d+)$", r"} 0 \1", line) for line in lines]
    assert samples("\n".join(nought)) == []


@pytest.mark.parametrize("text", ["", "nonsense\n", "pod_cpu_usage_seconds_total 1 2\n"])
def test_an_answer_that_is_none_says_nothing_of_pods(certificate: Path, text: str) -> None:
    async def other(_: web.Request) -> web.Response:
        return web.Response(text=text)

    async def look() -> None:
        kubelets = Kubelets(_context=ssl.create_default_context(cafile=str(certificate)))
        async with serving(certificate, other) as port:
            assert await kubelets.look([node("node-0", port)]) == []

    asyncio.run(look())


def test_the_nodes_name_and_the_token_are_what_counts(certificate: Path) -> None:
    async def look() -> None:
        kubelets = Kubelets(_context=ssl.create_default_context(cafile=str(certificate)))
        async with serving(certificate, says) as port:
            (sample,) = await kubelets.look([node("node-0", port)])
            assert sample.name == "burns"
            assert await kubelets.look([node("node-1", port)]) == []  # it is another's certificate
        assert "certificate" in kubelets.silent()["node-1"].lower()

    asyncio.run(look())


def test_nobody_is_believed_who_is_not_of_the_cluster(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def look() -> tuple[int, int]:
        async with serving(certificate, says) as port:
            asked = [node("node-0", port)]
            monkeypatch.delenv("TALLY_KUBELET_TLS", raising=False)
            doubted = len(await Kubelets().look(asked))
            monkeypatch.setenv("TALLY_KUBELET_TLS", "insecure")
            return doubted, len(await Kubelets().look(asked))

    assert asyncio.run(look()) == (0, 1)


@pytest.mark.timing
def test_a_node_that_does_not_answer_holds_nobody_up_and_is_asked_less_and_less(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kubelet, "_ANSWER_SECONDS", 0.3)
    asked: list[float] = []

    async def hangs(_: web.Request) -> web.Response:
        asked.append(time.monotonic())
        await asyncio.sleep(3600)
        raise AssertionError

    async def look() -> None:
        context = ssl.create_default_context(cafile=str(certificate))
        kubelets = Kubelets(usual_seconds=0.2, _context=context)
        async with serving(certificate, says) as port, serving(certificate, hangs) as other:
            nodes = [node("node-0", port), {**node("node-0", other), "metadata": {"name": "hangs"}}]
            looks, deadline = 0, time.monotonic() + 20
            while len(asked) < 4 and time.monotonic() < deadline:
                assert [sample.name for sample in await kubelets.look(nodes)] == ["burns"]
                looks += 1
            first, second, third = (b - a for a, b in itertools.pairwise(asked))
            assert first < second < third
            assert looks > 3 * len(asked)
            assert list(kubelets.silent()) == ["hangs"]
            assert await kubelets.look(nodes[:1])
            assert not kubelets.silent()

    asyncio.run(look())


def test_a_node_with_a_young_pod_is_asked_more_often(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1000.0]
    monkeypatch.setattr(kubelet.time, "monotonic", lambda: clock[0])

    async def look() -> list[int]:
        kubelets = Kubelets(_context=ssl.create_default_context(cafile=str(certificate)))
        asked = []
        async with serving(certificate, says) as port:
            for young in (set(), set(), {"node-0"}, {"node-0"}, set(), set(), set()):
                asked.append(len(await kubelets.look([node("node-0", port)], young)))
                clock[0] += kubelets.often_seconds
        return asked

    assert asyncio.run(look()) == [1, 0, 1, 1, 0, 0, 1]


def test_an_answer_without_end_is_cut_off(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kubelet, "_LARGEST_BYTES", 1 << 20)

    async def floods(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(100):  # more than is read
            await response.write(b"x" * 65536)
        return response

    async def look() -> None:
        kubelets = Kubelets(_context=ssl.create_default_context(cafile=str(certificate)))
        async with serving(certificate, floods) as port:
            assert await kubelets.look([node("node-0", port)]) == []
        assert "16 MiB" in kubelets.silent()["node-0"]

    asyncio.run(look())


def test_a_file_of_cas_that_is_none_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALLY_KUBELET_TLS", "/no/such/file")
    with pytest.raises(SpecError, match="TALLY_KUBELET_TLS: expected cluster, insecure or a file"):
        trust()
