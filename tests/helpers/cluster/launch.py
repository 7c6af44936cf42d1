"""In place of KFP's launcher, in the pod of a step: launch.py EXECUTOR_INPUT COMMAND...

Like it: inputs are brought from the object store, {{$}} is filled in, outputs are taken there; and
what the real one writes into its database, the executor's own output. It dies within a second of a
SIGTERM, whatever the step still does.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import boto3

MOUNT = Path("/minio")
OWN_STORE = "http://seaweedfs.kubeflow:9000"
TERMINATED_SECONDS = 1.0
DONE = Path("/var/run/argo/done")  # Argo's own container ends when this one has


def artifacts_of(given: dict[str, Any]) -> list[Path]:
    found = [one for each in given.get("artifacts", {}).values() for one in each["artifacts"]]
    return [MOUNT / artifact["uri"].removeprefix("minio://") for artifact in found]


def bring(store: Any, place: Path) -> None:
    bucket, *parts = place.relative_to(MOUNT).parts
    found = store.list_objects_v2(Bucket=bucket, Prefix="/".join(parts))["Contents"]
    for key in (item["Key"] for item in found):
        path = MOUNT / bucket / key
        path.parent.mkdir(parents=True, exist_ok=True)
        store.download_file(bucket, key, str(path))


def take(store: Any, place: Path) -> None:
    for path in [place, *place.rglob("*")]:
        if path.is_file():
            bucket, *parts = path.relative_to(MOUNT).parts
            store.upload_file(str(path), bucket, "/".join(parts))


def main(text: str, command: list[str]) -> int:
    endpoint = os.environ.get("AWS_ENDPOINT_URL", OWN_STORE)
    given, store = json.loads(text), boto3.client("s3", endpoint_url=endpoint)
    for place in artifacts_of(given["inputs"]):
        bring(store, place)
    places = [*artifacts_of(given["outputs"]), Path(given["outputs"]["outputFile"])]
    for place in places:
        place.parent.mkdir(parents=True, exist_ok=True)
    step = subprocess.Popen([text if part == "{{$}}" else part for part in command])

    def end(number: int, frame: FrameType | None) -> None:
        step.terminate()
        try:
            step.wait(TERMINATED_SECONDS)
        finally:
            DONE.touch()
            os._exit(143)

    signal.signal(signal.SIGTERM, end)
    code = step.wait()
    for place in places if code == 0 else ():
        take(store, place)
    return code


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1], sys.argv[2:]))
    finally:
        DONE.touch()
