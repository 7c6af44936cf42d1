# mypy: ignore-errors
# ruff: noqa
# fmt: off
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Phase(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    JOINING: _ClassVar[Phase]
    READY: _ClassVar[Phase]
    TRAINING: _ClassVar[Phase]
    RESTING: _ClassVar[Phase]
JOINING: Phase
READY: Phase
TRAINING: Phase
RESTING: Phase

class JoinRequest(_message.Message):
    __slots__ = ("schema", "worker", "uid", "nonce")
    SCHEMA_FIELD_NUMBER: _ClassVar[int]
    WORKER_FIELD_NUMBER: _ClassVar[int]
    UID_FIELD_NUMBER: _ClassVar[int]
    NONCE_FIELD_NUMBER: _ClassVar[int]
    schema: int
    worker: str
    uid: str
    nonce: bytes
    def __init__(self, schema: _Optional[int] = ..., worker: _Optional[str] = ..., uid: _Optional[str] = ..., nonce: _Optional[bytes] = ...) -> None: ...

class Order(_message.Message):
    __slots__ = ("welcome", "pause", "generation", "end")
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    PAUSE_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    welcome: Welcome
    pause: Pause
    generation: Generation
    end: End
    def __init__(self, welcome: _Optional[_Union[Welcome, _Mapping]] = ..., pause: _Optional[_Union[Pause, _Mapping]] = ..., generation: _Optional[_Union[Generation, _Mapping]] = ..., end: _Optional[_Union[End, _Mapping]] = ...) -> None: ...

class Welcome(_message.Message):
    __slots__ = ("config_json", "member", "coordinator", "heartbeat_seconds")
    CONFIG_JSON_FIELD_NUMBER: _ClassVar[int]
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    COORDINATOR_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_SECONDS_FIELD_NUMBER: _ClassVar[int]
    config_json: str
    member: bytes
    coordinator: bytes
    heartbeat_seconds: float
    def __init__(self, config_json: _Optional[str] = ..., member: _Optional[bytes] = ..., coordinator: _Optional[bytes] = ..., heartbeat_seconds: _Optional[float] = ...) -> None: ...

class Pause(_message.Message):
    __slots__ = ("generation", "urgent")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    URGENT_FIELD_NUMBER: _ClassVar[int]
    generation: int
    urgent: bool
    def __init__(self, generation: _Optional[int] = ..., urgent: _Optional[bool] = ...) -> None: ...

class Generation(_message.Message):
    __slots__ = ("generation", "rank", "addresses", "key", "donor", "fresh", "order", "batch_size")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    RANK_FIELD_NUMBER: _ClassVar[int]
    ADDRESSES_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    DONOR_FIELD_NUMBER: _ClassVar[int]
    FRESH_FIELD_NUMBER: _ClassVar[int]
    ORDER_FIELD_NUMBER: _ClassVar[int]
    BATCH_SIZE_FIELD_NUMBER: _ClassVar[int]
    generation: int
    rank: int
    addresses: _containers.RepeatedScalarFieldContainer[str]
    key: bytes
    donor: int
    fresh: bool
    order: str
    batch_size: int
    def __init__(self, generation: _Optional[int] = ..., rank: _Optional[int] = ..., addresses: _Optional[_Iterable[str]] = ..., key: _Optional[bytes] = ..., donor: _Optional[int] = ..., fresh: _Optional[bool] = ..., order: _Optional[str] = ..., batch_size: _Optional[int] = ...) -> None: ...

class End(_message.Message):
    __slots__ = ("reason", "message")
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    reason: str
    message: str
    def __init__(self, reason: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...

class Observation(_message.Message):
    __slots__ = ("generation", "step", "examples_per_second", "step_seconds", "sync_seconds", "wait_seconds", "loss", "gradient_noise_scale")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    EXAMPLES_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    STEP_SECONDS_FIELD_NUMBER: _ClassVar[int]
    SYNC_SECONDS_FIELD_NUMBER: _ClassVar[int]
    WAIT_SECONDS_FIELD_NUMBER: _ClassVar[int]
    LOSS_FIELD_NUMBER: _ClassVar[int]
    GRADIENT_NOISE_SCALE_FIELD_NUMBER: _ClassVar[int]
    generation: int
    step: int
    examples_per_second: float
    step_seconds: float
    sync_seconds: float
    wait_seconds: float
    loss: float
    gradient_noise_scale: float
    def __init__(self, generation: _Optional[int] = ..., step: _Optional[int] = ..., examples_per_second: _Optional[float] = ..., step_seconds: _Optional[float] = ..., sync_seconds: _Optional[float] = ..., wait_seconds: _Optional[float] = ..., loss: _Optional[float] = ..., gradient_noise_scale: _Optional[float] = ...) -> None: ...

class HeartbeatRequest(_message.Message):
    __slots__ = ("member", "sequence", "phase", "generation", "step", "has_state", "address", "observation", "first_line", "lines")
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    HAS_STATE_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    OBSERVATION_FIELD_NUMBER: _ClassVar[int]
    FIRST_LINE_FIELD_NUMBER: _ClassVar[int]
    LINES_FIELD_NUMBER: _ClassVar[int]
    member: bytes
    sequence: int
    phase: Phase
    generation: int
    step: int
    has_state: bool
    address: str
    observation: Observation
    first_line: int
    lines: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, member: _Optional[bytes] = ..., sequence: _Optional[int] = ..., phase: _Optional[_Union[Phase, str]] = ..., generation: _Optional[int] = ..., step: _Optional[int] = ..., has_state: _Optional[bool] = ..., address: _Optional[str] = ..., observation: _Optional[_Union[Observation, _Mapping]] = ..., first_line: _Optional[int] = ..., lines: _Optional[_Iterable[bytes]] = ...) -> None: ...

class HeartbeatReply(_message.Message):
    __slots__ = ("known", "lines")
    KNOWN_FIELD_NUMBER: _ClassVar[int]
    LINES_FIELD_NUMBER: _ClassVar[int]
    known: bool
    lines: int
    def __init__(self, known: _Optional[bool] = ..., lines: _Optional[int] = ...) -> None: ...

class LeaveRequest(_message.Message):
    __slots__ = ("member", "reason")
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    member: bytes
    reason: str
    def __init__(self, member: _Optional[bytes] = ..., reason: _Optional[str] = ...) -> None: ...

class LeaveReply(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ResizeRequest(_message.Message):
    __slots__ = ("workers", "machine_type")
    WORKERS_FIELD_NUMBER: _ClassVar[int]
    MACHINE_TYPE_FIELD_NUMBER: _ClassVar[int]
    workers: int
    machine_type: str
    def __init__(self, workers: _Optional[int] = ..., machine_type: _Optional[str] = ...) -> None: ...

class ResizeReply(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class FetchRequest(_message.Message):
    __slots__ = ("name", "offset")
    NAME_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    name: str
    offset: int
    def __init__(self, name: _Optional[str] = ..., offset: _Optional[int] = ...) -> None: ...

class Chunk(_message.Message):
    __slots__ = ("data", "checksum", "total_bytes")
    DATA_FIELD_NUMBER: _ClassVar[int]
    CHECKSUM_FIELD_NUMBER: _ClassVar[int]
    TOTAL_BYTES_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    checksum: int
    total_bytes: int
    def __init__(self, data: _Optional[bytes] = ..., checksum: _Optional[int] = ..., total_bytes: _Optional[int] = ...) -> None: ...
