# One image for every pod of a run: steps, conductor, workers. It runs as nobody in particular, on a
# read-only root file system; /tmp is the one place to write.
ARG BASE=docker.io/library/python:3.11-slim-bookworm
FROM ${BASE}

# The libraries change seldom: a layer of their own. Compiled here, since no pod can write bytecode;
# by hash, since times of files do not survive every image store. Nobody in a pod needs TensorFlow's
# C++ headers (280 MB), clang's or the libraries' own tests.
COPY requirements/local.lock /tmp/local.lock
RUN set -eu; \
    python3 -m venv /opt/tally; \
    /opt/tally/bin/python -m pip install -qq --no-cache-dir --no-compile --disable-pip-version-check \
        --require-hashes -r /tmp/local.lock; \
    cd /opt/tally/lib/python3.11/site-packages; \
    rm -rf tensorflow/include tensorflow/xla_aot_runtime_src clang /tmp/local.lock; \
    find numpy scipy sklearn -type d -name tests -prune -exec rm -rf {} +; \
    /opt/tally/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash . || true; \
    echo 'tally:x:65532:65532:tally:/tmp:/usr/sbin/nologin' >>/etc/passwd

COPY pyproject.toml README.md /app/
COPY tally /app/tally
COPY components /app/components
COPY pipelines /app/pipelines
COPY requirements/local.lock /app/requirements/local.lock
RUN set -eu; \
    cd /app; \
    /opt/tally/bin/python -m tally.content >CONTENT; \
    /opt/tally/bin/python -m pip install -qq --no-compile --disable-pip-version-check --no-deps \
        --no-build-isolation -e .; \
    rm -rf build; \
    /opt/tally/bin/python -m compileall -q --invalidation-mode unchecked-hash . >&2

WORKDIR /app
USER 65532:65532
ENV PATH=/opt/tally/bin:/usr/local/bin:/usr/bin:/bin HOME=/tmp TALLY_HOME=/tmp/tally \
    PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
