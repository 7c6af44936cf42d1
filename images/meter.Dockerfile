# The meter's image: no TensorFlow, no Kubeflow. It runs as nobody in particular, on a read-only root
# file system; /ledger is where it writes, /tmp is a little room.
ARG BASE=docker.io/library/python:3.11-slim-bookworm
FROM ${BASE}

# As in worker.Dockerfile: a layer of its own, compiled here since the pod can write no bytecode.
COPY requirements/meter.lock /tmp/meter.lock
RUN set -eu; \
    python3 -m venv /opt/tally; \
    /opt/tally/bin/python -m pip install -qq --no-cache-dir --no-compile --disable-pip-version-check \
        --require-hashes -r /tmp/meter.lock; \
    rm /tmp/meter.lock; \
    cd /opt/tally/lib/python3.11/site-packages; \
    /opt/tally/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash . || true; \
    echo 'tally:x:65532:65532:tally:/tmp:/usr/sbin/nologin' >>/etc/passwd

# found by its path: the lock has nothing that could install a package
COPY tally /app/tally
RUN /opt/tally/bin/python -m compileall -q --invalidation-mode unchecked-hash /app/tally >&2

WORKDIR /app
USER 65532:65532
# MALLOC_ARENA_MAX: a list of a thousand pods is given back to the system, not kept by each thread
ENV PATH=/opt/tally/bin:/usr/local/bin:/usr/bin:/bin HOME=/tmp TALLY_HOME=/tmp/tally PYTHONPATH=/app \
    PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 MALLOC_ARENA_MAX=2
EXPOSE 8080
CMD ["python", "-m", "tally.meter"]
