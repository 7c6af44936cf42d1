"""The meter as a process, with an API server that stands in for the real one (standin.py)."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from helpers.meter.standin import ApiStandIn
from helpers.ports import HeldPort
from tally.costing.ledger import open_ledger
from tally.costing.runs import RunRecord
from tally.costing.usage import Usage

MACHINES = """
provider: test
version: "1"
machine_types:
  m: {list_price_usd_per_hour: 3.6, software_usd_per_hour: 0.0, discount_percent: 0.0,
      value_of_hour_usd: 1.0, source: this test, date: 2026-11-24}
"""


def until(is_so: Callable[[], Any], seconds: float = 60) -> Any:
    deadline = time.monotonic() + seconds
    while not (answer := is_so()):
        assert time.monotonic() < deadline, f"not so within {seconds} s"
        time.sleep(0.05)
    return answer


def lease() -> dict[str, Any]:
    """Of a node that is there now."""
    now = time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime())
    return {"metadata": {"name": "node-0"}, "spec": {"renewTime": now}}


class Process:
    """The meter; it is started.

    Attributes:
        folder: of its ledger and its log.
    """

    def __init__(self, folder: Path, api: ApiStandIn) -> None:
        self.folder, self.url = folder, f"sqlite:///{folder}/ledger.db"
        (folder / "machines.yaml").write_text(MACHINES)
        api.write_kubeconfig(folder / "config")
        self._held = HeldPort()
        self.port = self._held.number
        self.start()

    def start(self) -> None:
        """Begin it, on the port and the ledger that it had."""
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "KUBECONFIG": str(self.folder / "config"),
            "TALLY_MACHINES": str(self.folder / "machines.yaml"),
            "TALLY_LEDGER_URL": self.url,
            "TALLY_METER_PORT": str(self.port),
        }
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tally.meter"], env=environment, stdout=log, stderr=log
            )

    def kill(self) -> None:
        """As a node that loses power."""
        self.process.kill()
        self.process.wait()

    def health(self) -> tuple[int, str]:
        """/healthz: the status, and what is wrong."""
        assert self.process.poll() is None, (self.folder / "log").read_text()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/healthz", timeout=5) as said:
                return said.status, " ".join(json.load(said)["problems"])
        except urllib.error.HTTPError as error:
            return error.code, " ".join(json.load(error)["problems"])
        except OSError:
            return 0, ""

    def notices(self) -> list[str]:
        """What /healthz remarks."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/healthz", timeout=5) as said:
            return list(json.load(said)["notices"])

    def run(self, run_id: str) -> RunRecord | None:
        with open_ledger(self.url) as ledger:
            return ledger.run(run_id)

    def rows(self) -> list[Usage]:
        with open_ledger(self.url) as ledger:
            return ledger.usage()

    def open_rows(self) -> list[Usage]:
        return [row for row in self.rows() if row.end_microseconds is None]

    def terminate(self) -> float:
        """Seconds until it had ended by itself."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(60) == 0, (self.folder / "log").read_text()
        return time.monotonic() - began
