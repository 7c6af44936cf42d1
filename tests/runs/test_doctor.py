"""doctor as a whole: which parts it looks at, and that no part hides another."""

import threading
import time
from collections.abc import Iterator

from helpers.command import tally
from tally.errors import RunError
from tally.runs import doctor_cluster
from tally.runs.finding import Check, Finding, looked

GOOD = Finding("a", True, "there", "")


def test_without_a_cluster_its_part_is_one_line() -> None:
    (finding,) = doctor_cluster.findings({"HOME": "/nowhere"})
    assert finding.what == "cluster" and not finding.needed
    assert "set KFP_HOST" in finding.line() and "KUBECONFIG" in finding.line()


def test_the_command_says_what_is_wrong_with_the_cluster_after_this_machine() -> None:
    done = tally("doctor", KFP_HOST="ftp://nowhere", KUBECONFIG="", TALLY_STORE="ftp://a/b")
    lines = done.stdout.splitlines()
    assert done.returncode == 1 and done.stderr == ""
    assert lines[0].startswith("ok       python")
    (host,) = (line for line in lines if "KFP_HOST: expected an address" in line)
    assert host.startswith("missing  Kubeflow Pipelines: ") and host.endswith("; correct it")
    (store,) = (line for line in lines if line.startswith("missing  store: "))
    assert "gs://bucket/prefix" in store
    assert "optional  Kubernetes: no kubeconfig; set KUBECONFIG" in done.stdout


def test_a_bad_price_hides_nothing_either() -> None:
    done = tally("doctor", TALLY_PRICE_PER_HOUR="cheap", KFP_HOST="", KUBECONFIG="")
    assert done.returncode == 1 and done.stderr == ""
    assert "missing  price: TALLY_PRICE_PER_HOUR" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("optional  cluster")


def test_a_check_that_hangs_is_one_line_after_what_it_had_found() -> None:
    over = threading.Event()

    def hangs() -> Iterator[Finding]:
        yield GOOD
        over.wait(30)

    def fails() -> Iterator[Finding]:
        raise RunError("the store: expected an answer, got none; start it")
        yield

    def breaks() -> Iterator[Finding]:
        raise ZeroDivisionError("a token that somebody put here")
        yield

    checks = [Check("h", hangs), Check("f", fails), Check("b", breaks), Check("g", lambda: [GOOD])]
    began = time.monotonic()
    said = [finding.line() for finding in looked(checks, seconds=0.5)]
    assert time.monotonic() - began < 25
    over.set()
    assert said == [
        "ok       a: there",
        "missing  h: no end within 0.5 s; look at the network and at what should answer, then run "
        "doctor again",
        "missing  f: the store: expected an answer, got none; start it",
        "missing  b: a builtins.ZeroDivisionError; report it as a bug",
        "ok       a: there",
    ]


def test_checks_look_at_the_same_time() -> None:
    both = threading.Barrier(2)

    def meets() -> Iterator[Finding]:
        both.wait(10)
        yield GOOD

    assert list(looked([Check("a", meets), Check("b", meets)])) == [GOOD, GOOD]
