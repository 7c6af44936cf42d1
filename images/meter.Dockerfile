# The meter's image: no TensorFlow, no Kubeflow. It runs as nobody in particular, on a read-only root
# file system; /ledger is where it writes, /tmp is a little room. Laid out as worker.Dockerfile is.
ARG BASE=docker.io/library/python:3.11-slim-bookworm
FROM ${BASE} AS whole

FROM ${BASE} AS base
COPY images/trim.sh /tmp/trim.sh
RUN sh /tmp/trim.sh

FROM scratch
COPY --from=base / /
ENV PATH=/opt/tally/bin:/usr/local/bin:/usr/bin:/bin LANG=C.UTF-8 HOME=/tmp TALLY_HOME=/tmp/tally \
    PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
COPY images/libraries.sh images/sbom.py requirements/meter.lock /opt/tally/
RUN --mount=type=bind,from=whole,target=/whole sh /opt/tally/libraries.sh meter.lock

COPY tally /app/tally
RUN python -m compileall -q --invalidation-mode unchecked-hash /app

WORKDIR /app
USER 65532:65532
# MALLOC_ARENA_MAX: a list of a thousand pods is given back to the system, not kept by each thread
ENV MALLOC_ARENA_MAX=2
EXPOSE 8080
CMD ["python", "-m", "tally.meter"]
