#!/bin/sh
# moto 5.2.5 as a server (moto[server]), behind a Kubernetes Service; asked by boto3 1.44.5.
#
# Guessed: a client that addresses buckets in the path (boto3 does for an endpoint of one's own) finds
# them under whatever name the server is reached by, since the name of a host is no part of the path.
# Seen: where that name has a dot, as a Service's of another namespace has (seaweedfs.kubeflow), its
# first word is taken for the bucket and the path for the key. A bucket that is there is listed as one
# that is not; by an address in numbers, as tests mostly ask, or by "localhost", it is found.
# So: S3_IGNORE_SUBDOMAIN_BUCKETNAME=true in the environment before moto is imported.
#
# Fails if it does something else.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install -q --disable-pip-version-check 'moto[server]==5.2.5' boto3==1.44.5
cat >"$work/asked.py" <<'EOF'
import boto3
import botocore.exceptions
from moto.server import ThreadedMotoServer

server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
host, port = server.get_host_and_port()


def client(name):
    """By this name, which a Service would lead to the same server."""
    made = boto3.client(
        "s3", endpoint_url=f"http://127.0.0.1:{port}", region_name="us-east-1",
        aws_access_key_id="tests", aws_secret_access_key="tests",
    )
    made.meta.events.register("before-send", lambda request, **_: request.headers.update(Host=name))
    return made


client(f"127.0.0.1:{port}").create_bucket(Bucket="models")
for name in (f"127.0.0.1:{port}", f"localhost:{port}", f"seaweedfs.kubeflow:{port}"):
    try:
        client(name).list_objects_v2(Bucket="models")
        print(name.partition(":")[0], "lists it")
    except botocore.exceptions.ClientError as error:
        print(name.partition(":")[0], "says", error.response["Error"]["Code"])
server.stop()
EOF
for ignored in false true; do
  echo "S3_IGNORE_SUBDOMAIN_BUCKETNAME=$ignored"
  S3_IGNORE_SUBDOMAIN_BUCKETNAME=$ignored "$work/venv/bin/python" "$work/asked.py" 2>/dev/null
done | tee "$work/out"
test "$(grep -c "lists it" "$work/out")" = 5
grep -qx "seaweedfs.kubeflow says NoSuchBucket" "$work/out"
echo "as described"
