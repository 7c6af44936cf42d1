# One image for every pod of a run: steps, conductor, workers. It runs as nobody in particular, on a
# read-only root file system; /tmp is the one place to write. LOCK: local (CPU), worker-gpu, worker-tpu.
ARG BASE=docker.io/library/python:3.11-slim-bookworm
FROM ${BASE} AS whole

FROM ${BASE} AS base
COPY images/trim.sh /tmp/trim.sh
RUN sh /tmp/trim.sh

# What was removed from the base is not in a layer below, and pip never was in one.
FROM scratch
COPY --from=base / /
ENV PATH=/opt/tally/bin:/usr/local/bin:/usr/bin:/bin LANG=C.UTF-8 HOME=/tmp TALLY_HOME=/tmp/tally \
    PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
# The libraries change seldom: a layer of their own.
ARG LOCK=local
COPY images/libraries.sh images/sbom.py requirements/${LOCK}.lock /opt/tally/
RUN --mount=type=bind,from=whole,target=/whole sh /opt/tally/libraries.sh ${LOCK}.lock

COPY images/libraries.sh images/sbom.py images/trim.sh images/worker.Dockerfile /app/images/
COPY requirements/local.lock requirements/worker-gpu.lock requirements/worker-tpu.lock /app/requirements/
COPY components /app/components
COPY pipelines /app/pipelines
COPY tally /app/tally
RUN set -eu; \
    cd /app; \
    python -m tally.content >CONTENT; \
    python -m compileall -q --invalidation-mode unchecked-hash .

WORKDIR /app
USER 65532:65532
