"""What is wrong with the meter now, in one line a part; /healthz shows it."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass
class Health:
    """Problems by part ("ledger", "watch", …): with none the meter is well. Safe beside threads.

    Notices are worth a line and no alarm: a node that does not say what its pods use.
    """

    _problems: dict[str, str] = field(default_factory=dict)
    _notices: dict[str, dict[str, str]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def problem(self, part: str, line: str) -> None:
        """Something is wrong with this part, in one line; it replaces what was said of it."""
        with self._lock:
            self._problems[part] = " ".join(line.split())

    def well(self, part: str) -> None:
        """Nothing is wrong with this part any more."""
        with self._lock:
            self._problems.pop(part, None)

    def notice(self, kind: str, lines: Mapping[str, str]) -> None:
        """Of this kind these notices, by part, and no others."""
        with self._lock:
            self._notices[kind] = {part: " ".join(line.split()) for part, line in lines.items()}

    def problems(self) -> list[str]:
        """All problems, "part: line", by part."""
        with self._lock:
            return [f"{part}: {line}" for part, line in sorted(self._problems.items())]

    def notices(self) -> list[str]:
        """All notices, likewise."""
        with self._lock:
            all_lines = {k: v for kind in self._notices.values() for k, v in kind.items()}
        return [f"{part}: {line}" for part, line in sorted(all_lines.items())]
