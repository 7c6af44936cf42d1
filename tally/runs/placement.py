"""What a cluster gives to each step of a pipeline, out of the environment of whoever compiles.

    TALLY_IMAGE               registry/tally@sha256:… of the steps and workers; a digest pins it
    TALLY_IMAGE_PULL_SECRET   Secrets for its registry, with commas
    TALLY_STORE               s3://…, gs://…, or the path of a volume; default: KFP's own store
    TALLY_STORE_SECRET        a Secret with accesskey and secretkey, for s3://
    TALLY_STORE_CLAIM         the volume's claim, where TALLY_STORE is a path
    AWS_ENDPOINT_URL, AWS_REGION
                              of that store, as pods reach it; KFP's own is found by each step
    TALLY_POD_METER_URL       the meter, as pods reach it; TALLY_METER_URL is from this machine

No credentials are among them: pods get those by the names of Secrets.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from tally import content
from tally.buckets import endpoints
from tally.errors import SpecError
from tally.storage import CloudPath, location

_OWN_STORE = "s3://mlpipeline/tally"
_OWN_SECRET = "mlpipeline-minio-artifact"  # noqa: S105  KFP's manifests keep it for any server
_OF_STORE = ("TALLY_STORE", "AWS_ENDPOINT_URL", "AWS_REGION")
_IMAGE = re.compile(r"[\w][\w.\-/:]*(@sha256:[0-9a-f]{64})?")
_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")


@dataclass(frozen=True, kw_only=True)
class Placement:
    """What a cluster gives to each step of a pipeline, the same to all.

    Attributes:
        image: of their pods, in place of COMPONENTS_IMAGE; "" leaves that.
        content: of the sources that the image must have been made of.
        pull_secrets: names of Secrets for the image's registry.
        environment: nothing secret.
        store_secret: the Secret with the store's credentials, "" where none is wanted.
        store_claim: the claim of the store's volume, "" where it is a bucket.
    """

    image: str = ""
    content: str = ""
    pull_secrets: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    store_secret: str = ""
    store_claim: str = ""


def placement(environment: Mapping[str, str]) -> Placement:
    """The placement that these settings describe.

    Args:
        environment: of whoever compiles.

    Raises:
        SpecError: one of them cannot be right.
    """
    given = {name: value.strip() for name, value in environment.items() if value.strip()}
    pulled = given.get("TALLY_IMAGE_PULL_SECRET", "").split(",")
    own, meter = "TALLY_STORE" not in given, given.get("TALLY_POD_METER_URL")
    placed = Placement(
        image=given.get("TALLY_IMAGE", ""),
        content=content.tag_of(),
        pull_secrets=tuple(name.strip() for name in pulled if name.strip()),
        environment={
            **_store(given),
            **({"TALLY_METER_URL": meter} if meter else {}),
        },
        store_secret=given.get("TALLY_STORE_SECRET", _OWN_SECRET if own else ""),
        store_claim=given.get("TALLY_STORE_CLAIM", ""),
    )
    if placed.image and not _IMAGE.fullmatch(placed.image):
        raise SpecError(
            f"TALLY_IMAGE: expected registry/name@sha256:… or registry/name:tag, got "
            f"{placed.image[:200]!a}; pass what `make images` printed"
        )
    _require_names("TALLY_IMAGE_PULL_SECRET", placed.pull_secrets)
    _require_names("TALLY_STORE_SECRET", filter(None, [placed.store_secret]))
    _require_names("TALLY_STORE_CLAIM", filter(None, [placed.store_claim]))
    _require_url("AWS_ENDPOINT_URL", placed.environment.get("AWS_ENDPOINT_URL", ""))
    _require_url("TALLY_POD_METER_URL", placed.environment.get("TALLY_METER_URL", ""))
    _require_store(placed.environment["TALLY_STORE"], placed.store_claim)
    return placed


def _store(given: Mapping[str, str]) -> dict[str, str]:
    """What of these settings leads pods to the store; candidates where none says where KFP's is."""
    if "TALLY_STORE" not in given and "AWS_ENDPOINT_URL" not in given:
        return {"TALLY_STORE": _OWN_STORE, endpoints.VARIABLE: " ".join(endpoints.KUBEFLOWS)}
    return {"TALLY_STORE": _OWN_STORE, **{n: given[n] for n in _OF_STORE if n in given}}


def _require_url(setting: str, url: str) -> None:
    """Refuse what is no plain address: it will lie in the compiled pipeline, for all to read."""
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        plain = parts.username is None and parts.password is None
    except ValueError:
        good = plain = False
    if url and not (good and plain and url.isascii() and url.isprintable()):
        shown = url[:100] if "@" not in url else "one with a user or a password"
        raise SpecError(
            f"{setting}: expected an address like http://name.namespace:9000 without credentials, "
            f"got {shown}; correct it"
        )


def _require_names(setting: str, names: Iterable[str]) -> None:
    for name in names:
        if not _NAME.fullmatch(name):
            raise SpecError(
                f"{setting}: expected the name of an object of the cluster, got {name[:100]!a}; "
                "give its name only"
            )


def _require_store(text: str, claim: str) -> None:
    """Refuse a store that pods would not have."""
    try:
        place = location(text)
    except SpecError as error:
        raise SpecError(f"TALLY_STORE: {error}") from error
    if isinstance(place, Path) and not claim:
        raise SpecError(
            f"TALLY_STORE: expected s3://… or gs://…, or a volume's path with its claim in "
            f"TALLY_STORE_CLAIM, got {text}; set the claim, or leave TALLY_STORE out for "
            "Kubeflow's own store"
        )
    if isinstance(place, CloudPath) and claim:
        raise SpecError(
            f"TALLY_STORE_CLAIM: expected none beside the bucket {text}, got {claim}; leave one out"
        )
