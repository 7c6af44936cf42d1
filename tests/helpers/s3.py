"""An S3 server that keeps everything in memory, with one bucket."""

import contextlib
from collections.abc import Iterator

KEYS = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s"}


@contextlib.contextmanager
def serving_bucket(name: str) -> Iterator[str]:
    """Its address, until the block ends."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    keys = {key.lower(): value for key, value in KEYS.items()}
    boto3.client("s3", endpoint_url=url, region_name="us-east-1", **keys).create_bucket(Bucket=name)
    yield url
    server.stop()
