"""What a worker that has a machine to itself asks of Kubernetes."""

from pydantic import BaseModel, ConfigDict, Field, model_validator

_GIB = 2**30


class Gpu(BaseModel):
    """GPUs of one node.

    Attributes:
        type: as the node's label cloud.google.com/gke-accelerator says it.
        count: of one worker.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: str = Field(min_length=1)
    count: int = Field(ge=1)


class Tpu(BaseModel):
    """A TPU slice of one host: a worker has it whole.

    Attributes:
        type: as the node's label cloud.google.com/gke-tpu-accelerator says it.
        topology: as the label cloud.google.com/gke-tpu-topology says it, "2x4".
        count: of chips; their product in the topology.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: str = Field(min_length=1)
    topology: str = Field(pattern=r"^\d+x\d+(x\d+)?$")
    count: int = Field(ge=1)

    @model_validator(mode="after")
    def _whole(self) -> "Tpu":
        chips = 1
        for side in self.topology.split("x"):
            chips *= int(side)
        if chips != self.count:
            raise ValueError(f"expected the {chips} chips of topology {self.topology}")
        return self


class KubernetesShape(BaseModel):
    """The request, which is the limit, of a worker on a machine, and where its pod may go.

    Attributes:
        cpu_cores, memory_gib: less than the machine has: the node keeps some for itself.
        node_selector: labels of the machine's nodes besides those of its accelerator.
        gpu, tpu: its accelerator; at most one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    cpu_cores: float = Field(gt=0)
    memory_gib: float = Field(gt=0)
    node_selector: dict[str, str] = {}
    gpu: Gpu | None = None
    tpu: Tpu | None = None

    @property
    def memory_bytes(self) -> int:
        """The memory request in bytes."""
        return int(self.memory_gib * _GIB)

    @model_validator(mode="after")
    def _one_accelerator(self) -> "KubernetesShape":
        if self.gpu and self.tpu:
            raise ValueError("expected gpu or tpu, not both")
        return self
