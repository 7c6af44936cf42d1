#!/bin/sh
# Kubeflow Pipelines SDK 2.17.3 (kfp).
#
# Guessed: a string in a lightweight component's function is the same in the step as in Python.
# Seen: the function's source is dedented as plain text, its strings with it. Where it stands inside
# another function (a factory, a test), a triple-quoted YAML came without the indentation that
# the function has: 'jobs:\n        train: 1\n        ' was 'jobs:\n    train: 1\n    ' in the step.
# Where one line of such a string begins at the margin, nothing can be dedented, no line of the source
# begins with "def" and all are dropped: it compiled without a word, to a component without its
# function, and the step failed.
# So: components at the top of a module, or their text in one line ("jobs:\n  train: 1\n").
#
# Fails if either of the two does something else.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install -q --disable-pip-version-check kfp==2.17.3
cat >"$work/asked.py" <<'EOF'
import sys

from kfp import compiler, dsl, local

local.init(local.SubprocessRunner(use_venv=False), pipeline_root=sys.argv[1], raise_on_error=False)
component = dsl.component(base_image="python:3.11", install_kfp_package=False)


@component
def top() -> str:
    return """jobs:
        train: 1
        """


def indented():
    @component
    def inside() -> str:
        return """jobs:
        train: 1
        """

    return inside


def at_the_margin():
    @component
    def margin() -> str:
        return """jobs:
train: 1
"""

    return margin


for made in (top, indented(), at_the_margin()):
    compiler.Compiler().compile(made, sys.argv[2])
    (executor,) = made.pipeline_spec.deployment_spec["executors"].values()
    has = "has" if f"def {made.name}" in executor["container"]["command"][-1] else "lacks"
    try:
        returned = repr(made().output)
    except Exception:
        returned = "nothing"
    print(f"{made.name}: Python {made.python_func()!r}, step {returned}, source {has} the function")
EOF
cd "$work"
PATH="$work/venv/bin:$PATH" python asked.py "$work/root" "$work/compiled.yaml" >all 2>&1 || { cat all; exit 1; }
grep -E '^(top|inside|margin): ' all | tee out
cat >expected <<'EOF'
top: Python 'jobs:\n        train: 1\n        ', step 'jobs:\n        train: 1\n        ', source has the function
inside: Python 'jobs:\n        train: 1\n        ', step 'jobs:\n    train: 1\n    ', source has the function
margin: Python 'jobs:\ntrain: 1\n', step nothing, source lacks the function
EOF
cmp out expected
echo "as described"
