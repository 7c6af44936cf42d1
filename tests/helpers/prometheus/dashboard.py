"""The queries of the dashboard that is shipped, as Grafana asks them."""

import json
from typing import Any

from helpers.prometheus.server import MANIFESTS, Asked


def _board() -> dict[str, Any]:
    return dict(json.loads((MANIFESTS / "dashboard.json").read_text()))


def targets() -> list[tuple[str, dict[str, Any]]]:
    """Each query of each panel, with a name."""
    return [
        (f"{panel['title']} {target['refId']}", target)
        for panel in _board()["panels"]
        for target in panel.get("targets", [])
    ]


def variables() -> list[str]:
    """Those that are asked for."""
    return [one["name"] for one in _board()["templating"]["list"] if one["type"] == "query"]


def filled(expr: str, run_id: str) -> str:
    """As Grafana fills in its variables, with this run chosen."""
    for variable, value in (
        ("$pipeline", ".*"), ("$run", run_id), ("$__range", "1h"), ("$__rate_interval", "1m"),
    ):  # fmt: skip
        expr = expr.replace(variable, value)
    assert "$" not in expr, expr
    return expr


def data(prometheus: Asked, target: dict[str, Any], run_id: str) -> Any:
    """What a query finds now or, of a graph, has found in the last five minutes."""
    expr = filled(target["expr"], run_id)
    if target.get("instant"):
        return prometheus.query(expr)
    found = prometheus.query_range(expr, 300, 1)
    return [one for one in found if one["values"][-1][1] != "NaN"]


def values_of(prometheus: Asked, variable: str, run_id: str) -> set[str]:
    """What a variable can be."""
    (asked,) = (one for one in _board()["templating"]["list"] if one["name"] == variable)
    inner = asked["query"]["query"].removeprefix("label_values(").removesuffix(")")
    selected, _, label = filled(inner, run_id).rpartition(", ")
    found = prometheus.query(f"group by ({label}) ({selected})")
    return {dict(labels).get(label, "") for labels in found} - {""}
