#!/bin/sh
# Kubeflow Pipelines SDK 2.17.0 (kfp), with scikit-learn 1.7.2 imported, on Python 3.11 or newer.
#
# Guessed: compiling a pipeline takes as long from a notebook's cell as from a file.
# Seen: setting a task's cpu or memory calls inspect.stack() to learn the name of its own caller. That
# reads the source of every frame, and for a frame whose code is in no file (a cell, exec, a worker
# process that was sent its code) the standard library goes through all modules that are loaded, each
# time. Ten tasks with four settings each: CPU seconds 0.02 from a file, 0.24 from a cell (12 times)
# with 2426 modules; with TensorFlow loaded and several such frames we saw 20 s against 0.2.
# So: compile in a thread of its own, which has few callers.
#
# Fails if the cell is no longer at least twice as slow as the file.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install -q --disable-pip-version-check kfp==2.17.0 scikit-learn==1.7.2 'setuptools<81'
cat >"$work/probe.py" <<'PY'
import sys
import time

import sklearn.ensemble  # noqa: F401
from kfp import compiler, dsl


@dsl.container_component
def step():
    return dsl.ContainerSpec(image="busybox", command=["true"])


def pipeline():
    for _ in range(10):
        step().set_cpu_limit("1").set_cpu_request("1").set_memory_limit("1G").set_memory_request("1G")


def seconds():
    began = time.process_time()
    compiler.Compiler().compile(dsl.pipeline(name="ten")(pipeline), sys.argv[1])
    return time.process_time() - began


seconds()
file = min(seconds() for _ in range(3))
cell = compile("min(seconds() for _ in range(3))", "<cell>", "eval")
cell = eval(cell)
print(f"{len(sys.modules)} modules: {file:.3f} s from a file, {cell:.3f} s from a cell, {cell / file:.1f} times")
sys.exit(cell < 2 * file)
PY
"$work/venv/bin/python" "$work/probe.py" "$work/ten.yaml"
