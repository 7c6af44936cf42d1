"""A real Prometheus as a process of the test, and what one is asked."""

import json
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from helpers import TESTS
from helpers.ports import HeldPort

MANIFESTS = TESTS.parent / "manifests" / "prometheus"


def wait_until(true: Callable[[], Any], seconds: float = 60.0) -> Any:
    """Look until `true` gives something; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < deadline, f"nothing in {seconds} s"
        time.sleep(0.05)
    return found


def settings() -> dict[str, Any]:
    """The configuration that is shipped, as one file: Debian's Prometheus knows no other."""
    made = dict(yaml.safe_load((MANIFESTS / "prometheus.yaml").read_text()))
    for name in made.pop("scrape_config_files"):
        made["scrape_configs"] += yaml.safe_load((MANIFESTS / name).read_text())["scrape_configs"]
    return made


@dataclass
class Asked:
    """What a Prometheus at one address is asked."""

    url: str

    def get(self, path: str, **fields: str) -> Any:
        """The data of an answer of its API."""
        query = urllib.parse.urlencode(fields)
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{query}", timeout=20) as answer:
                return json.loads(answer.read())["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{path} {fields}: {error.read().decode()}") from error

    def query(self, expr: str) -> dict[tuple[tuple[str, str], ...], float]:
        """An instant query: values by their labels."""
        found = self.get("query", query=expr)["result"]
        return {tuple(sorted(one["metric"].items())): float(one["value"][1]) for one in found}

    def value(self, expr: str) -> float | None:
        """Of an instant query that gives one value or none."""
        values = list(self.query(expr).values())
        assert len(values) <= 1, f"{expr}: {values}"
        return values[0] if values else None

    def query_range(self, expr: str, seconds: int, step: int) -> list[Any]:
        """Series over the last so many seconds."""
        now = time.time()
        fields = {"start": str(now - seconds), "end": str(now), "step": str(step)}
        return list(self.get("query_range", query=expr, **fields)["result"])


class Prometheus(Asked):
    """Killed and started again it goes on with what it has stored."""

    def __init__(self, folder: Path, config: dict[str, Any]) -> None:
        """Not started yet.

        Args:
            folder: for its data; the rules that are shipped are put beside its configuration.
            config: as prometheus.yaml.
        """
        for name in config["rule_files"]:
            (folder / name).write_text((MANIFESTS / name).read_text())
        self._file, self._data = folder / "prometheus.yaml", folder / "data"
        self._file.write_text(yaml.safe_dump(config))
        self._log, self._held = folder / "log", HeldPort()
        self._address = f"127.0.0.1:{self._held.number}"
        super().__init__(f"http://{self._address}")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """It answers when this returns."""
        with open(self._log, "ab") as log:
            self._process = subprocess.Popen(
                [
                    "prometheus",
                    f"--config.file={self._file}",
                    f"--storage.tsdb.path={self._data}",
                    f"--web.listen-address={self._address}",
                ],
                stdout=log,
                stderr=log,
            )
        wait_until(self._is_ready)

    def kill(self) -> None:
        """As an OOM kill does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _is_ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self._log.read_text()[-3000:]
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False
