"""Pods as a real API server (1.34) showed them, by what had become of them."""

import json
from typing import Any

from helpers import TESTS


def recorded(name: str) -> dict[str, Any]:
    return dict(json.loads((TESTS / "kube" / "pods" / f"{name}.json").read_text()))


def with_status(pod: dict[str, Any], **status: Any) -> dict[str, Any]:
    return {**pod, "status": {**pod["status"], **status}}
