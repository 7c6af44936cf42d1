"""Which of Kubeflow's object stores a step takes: the first whose host has an address."""

import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tally.buckets import endpoints
from tally.buckets.endpoints import first_there, use_first_there
from tally.errors import RunError

NEW, OLD = "http://seaweedfs.kubeflow:8333", "http://minio-service.kubeflow:9000"


def chosen(there: set[str], **more: str) -> str:
    environment = {"TALLY_STORE_ENDPOINTS": f"{NEW} {OLD}", **more}
    use_first_there(environment, there.__contains__)
    return environment["AWS_ENDPOINT_URL"]


def test_the_first_that_has_an_address_is_taken() -> None:
    assert chosen({"seaweedfs.kubeflow"}) == NEW
    assert chosen({"minio-service.kubeflow"}) == OLD
    assert chosen({"seaweedfs.kubeflow", "minio-service.kubeflow"}) == NEW


def test_nothing_is_chosen_where_nothing_is_left_open() -> None:
    assert chosen(set(), AWS_ENDPOINT_URL="http://mine:1") == "http://mine:1"
    for given in ({}, {"TALLY_STORE_ENDPOINTS": NEW, "AWS_ENDPOINT_URL_S3": "http://mine:1"}):
        environment = dict(given)
        use_first_there(environment, lambda host: True)
        assert environment == given


def test_none_there_is_one_line_that_says_what_to_do() -> None:
    with pytest.raises(RunError) as caught:
        chosen(set())
    assert str(caught.value) == (
        "store: expected an address of seaweedfs.kubeflow or minio-service.kubeflow, got none; set "
        "TALLY_STORE and AWS_ENDPOINT_URL to a bucket that pods reach, then submit again"
    )


def test_a_dns_that_hangs_holds_up_no_step_for_ever() -> None:
    over = threading.Event()

    def hangs(host: str) -> bool:
        return over.wait(30) if host == "seaweedfs.kubeflow" else True

    environment = {"TALLY_STORE_ENDPOINTS": f"{NEW} {OLD}"}
    use_first_there(environment, hangs, seconds=0.2)
    assert environment["AWS_ENDPOINT_URL"] == OLD
    with pytest.raises(
        RunError, match=r"got no answer of DNS for seaweedfs\.kubeflow within 0.2 s"
    ):
        use_first_there({"TALLY_STORE_ENDPOINTS": NEW}, hangs, seconds=0.2)
    over.set()


def test_a_slow_no_for_the_second_is_not_waited_for() -> None:
    over, began = threading.Event(), time.monotonic()
    environment = {"TALLY_STORE_ENDPOINTS": f"{NEW} {OLD}"}
    use_first_there(environment, lambda host: host.startswith("sea") or over.wait(30), seconds=25)
    assert environment["AWS_ENDPOINT_URL"] == NEW and time.monotonic() - began < 20
    over.set()


def test_a_first_that_answers_late_is_still_the_first() -> None:
    assert first_there([NEW, OLD], {"minio-service.kubeflow": True}, 1) == OLD
    late = threading.Event()

    def answers(host: str) -> bool:
        if host == "minio-service.kubeflow":
            late.set()
            return True
        return late.wait(10) and not time.sleep(0.1)

    environment = {"TALLY_STORE_ENDPOINTS": f"{NEW} {OLD}"}
    use_first_there(environment, answers)
    assert environment["AWS_ENDPOINT_URL"] == NEW


def test_dns_is_asked_again_while_it_cannot_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def getaddrinfo(host: str, port: None) -> list[Any]:
        asked.append(host)
        if host == "seaweedfs.kubeflow" and asked.count(host) > 1:
            return ["an address"]
        code = socket.EAI_AGAIN if host == "seaweedfs.kubeflow" else socket.EAI_NONAME
        raise socket.gaierror(code, "no")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(endpoints, "_PAUSE_SECONDS", 0.01)
    environment = {"TALLY_STORE_ENDPOINTS": f"{OLD} {NEW}"}
    use_first_there(environment)
    assert environment["AWS_ENDPOINT_URL"] == NEW
    assert sorted(asked) == ["minio-service.kubeflow", *["seaweedfs.kubeflow"] * 2]


STEP = """
import os, subprocess, sys
from tally.steps.step import step
with step("prepare"):
    print("in a child", subprocess.check_output(["printenv", "AWS_ENDPOINT_URL"], text=True))
"""


@pytest.mark.parametrize(
    ("candidates", "code", "words"),
    [
        ("http://none.invalid:8333 http://localhost:9000", 0, "in a child http://localhost:9000"),
        ("http://none.invalid:8333", 1, "store: expected an address of none.invalid, got n"),
    ],
    ids=["there", "nowhere"],
)
def test_a_step_takes_it_as_it_starts(
    tally_home: Path, candidates: str, code: int, words: str
) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    done = subprocess.run(
        [sys.executable, "-c", STEP],
        env={**kept, "TALLY_RUN_ID": "run-a", "TALLY_STORE_ENDPOINTS": candidates},
        capture_output=True, text=True, timeout=60, cwd=Path(__file__).parents[1],
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    said = done.stderr if code else done.stdout
    assert words in said and len(done.stderr.splitlines()) == code
