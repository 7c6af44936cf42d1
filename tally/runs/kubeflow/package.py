"""A pipeline compiled for a cluster, named by its content."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tally.runs.compiled import Sizes, compile_for_cluster
from tally.runs.kubeflow.steps import leaves

_HASH_LETTERS = 16


@dataclass(frozen=True)
class Package:
    """What is uploaded, and with which parameters it runs.

    Attributes:
        pipeline: its name.
        version: pipeline and hash of the text: the same content has the same version.
        text: Kubeflow's IR, YAML.
        parameters: of the run, all of the spec's.
        steps: the tasks with a container, in order.
    """

    pipeline: str
    version: str
    text: bytes
    parameters: Mapping[str, Any]
    steps: tuple[str, ...]


def package(name: str, settings: Mapping[str, str], sizes: Sizes = lambda name: {}) -> Package:
    """Check all that can be checked before the cluster is asked, and compile.

    Args:
        name: a packaged pipeline, or the path of the user's own file.
        settings: parameters over the pipeline's presets.
        sizes: as of `compile_for_cluster`.

    Raises:
        SpecError: no such pipeline, or something that cannot be right on a cluster.
    """
    import yaml

    made = compile_for_cluster(name, dict(settings), sizes=sizes)
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    ir = next(yaml.load_all(made.ir, loader))
    version = f"{made.name}-{made.content[:_HASH_LETTERS]}"
    return Package(made.name, version, made.ir, made.arguments, tuple(leaves(ir)))
