"""A real PostgreSQL in a folder of its own, ended with the tests that use it."""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import psycopg

from helpers.ports import HeldPort

PASSWORD = "a-secret,told-to-nobody"  # only this server's, which listens on this machine alone
PROGRAMS = "/usr/lib/postgresql/*/bin/initdb"  # where Debian has them
READY = b"database system is ready to accept connections"
WAIT_SECONDS = 60
START_SECONDS = 120.0  # after a kill it syncs all that the server before had written


@dataclass
class Server:
    """One server; databases are made in it by name."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None
    made: list[str] = field(default_factory=list)

    def start(self) -> None:
        """Run it, and wait until it answers."""
        settings = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": self.folder,
            "log_min_messages": "log",
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        command = [*_as_a_user("--pdeathsig=QUIT"), str(installed()[-1] / "postgres"), *options]
        self.process = subprocess.Popen(
            [*command, "-D", str(self.folder / "data")], stderr=subprocess.PIPE, cwd=self.folder
        )
        log = self.process.stderr
        assert log is not None
        told = b""
        deadline = threading.Timer(START_SECONDS, self.process.kill)
        deadline.start()
        while READY not in told:
            line = log.readline()
            assert line, f"PostgreSQL ended before it was ready: {told.decode()}"
            told += line
        deadline.cancel()
        threading.Thread(target=log.read, daemon=True).start()  # or it stops at a full pipe

    def ensure(self) -> None:
        """Start it where it does not run."""
        if self.process is None or self.process.poll() is not None:
            self.start()

    def kill(self) -> None:
        """SIGKILL it and every process of its, as when a machine loses its power."""
        assert self.process is not None
        family = psutil.Process(self.process.pid).children(recursive=True)
        self.process.kill()
        self.process.wait(WAIT_SECONDS)
        for child in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
        psutil.wait_procs(family, WAIT_SECONDS)

    def stop(self) -> None:
        """End it at once, whoever is still connected; it clears its shared memory away."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait(WAIT_SECONDS)

    def database(self) -> str:
        """The URL of an empty database."""
        name = f"tally_{len(self.made)}"
        self.made.append(name)
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def url(self, name: str, user: str = "tally", password: str = PASSWORD) -> str:
        """Of a database by name."""
        return f"postgresql://{user}:{password}@127.0.0.1:{self.port}/{name}"


@contextlib.contextmanager
def server() -> Iterator[Server]:
    """A running server, of no use to anybody else; gone at the end, with all that it holds."""
    folder = Path(tempfile.mkdtemp(prefix="tally-postgresql-"))
    try:
        if os.geteuid() == 0:
            shutil.chown(folder, *_user())
        password = folder / "password"
        password.write_text(PASSWORD)
        password.chmod(0o644)  # inside a folder that only its owner enters
        initdb = [str(installed()[-1] / "initdb"), "--no-sync", "--locale=C", "--encoding=UTF8"]
        initdb += ["--username=tally", "--auth=scram-sha-256", f"--pwfile={password}"]
        command = [*_as_a_user(), *initdb, "-D", str(folder / "data")]
        subprocess.run(command, check=True, capture_output=True, cwd=folder, timeout=WAIT_SECONDS)
        held = HeldPort()
        running = Server(folder, held.number)
        try:
            running.start()
            yield running
        finally:
            running.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def installed() -> list[Path]:
    """The folders of programs of each version with a server, the newest last."""
    found = Path("/").glob(PROGRAMS.lstrip("/"))
    return sorted((path.parent for path in found), key=lambda folder: int(folder.parts[-2]))


def _user() -> tuple[str, str]:
    """Who runs it where the tests are root's, whom PostgreSQL refuses."""
    users = Path("/etc/passwd").read_text()
    return ("postgres", "postgres") if "\npostgres:" in users else ("nobody", "nogroup")


def _as_a_user(*options: str) -> list[str]:
    """What makes a command run as nobody special; util-linux's, on every Debian."""
    if os.geteuid() != 0:
        return ["setpriv", *options] if options else []
    user, group = _user()
    return ["setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups", *options]
