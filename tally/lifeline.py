"""A process that ends when another does: steps with submit, a worker with its conductor."""

import os
import select
import signal
import threading
import time

import psutil


def end_with(pid: int, grace_seconds: float = 3.0) -> None:
    """From now on, SIGTERM this process once `pid` is gone, and end it `grace_seconds` later.

    Waits on a pidfd where the system has them (Linux), else looks twice a second.
    """

    def watch() -> None:
        _wait_gone(pid)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(grace_seconds)
        os._exit(143)

    threading.Thread(target=watch, name=f"lifeline-{pid}", daemon=True).start()


def _wait_gone(pid: int) -> None:
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    except (AttributeError, OSError):
        while psutil.pid_exists(pid):
            time.sleep(0.5)
        return
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    poller.poll()
    os.close(descriptor)
