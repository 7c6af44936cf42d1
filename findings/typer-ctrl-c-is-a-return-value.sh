#!/bin/sh
# typer 0.29.2 beside click 8.5.1.
#
# Guessed: an app that is called with standalone_mode=False raises on Ctrl-C, as click's commands do
# (Abort), so that whoever calls it need not look at what it returns.
# Seen: click raised Abort, typer returned 130. A program that ends after such a call exits with 0 when
# it was interrupted, and a script that runs it goes on.
# So: exit with what the call returns.
#
# Fails if either of the two does something else.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install -q --disable-pip-version-check typer==0.29.2 click==8.5.1
cat >"$work/asked.py" <<'EOF'
import os
import signal
import sys
import time

import click
import typer


def work():
    os.kill(os.getpid(), signal.SIGINT)  # as a terminal does at Ctrl-C
    time.sleep(10)


def said(name, call):
    try:
        print(name, "returned", call())
    except BaseException as error:
        print(name, "raised", type(error).__name__)


sys.argv = ["program"]
of_click = click.command()(work)
of_typer = typer.Typer()
of_typer.command()(work)
said("click", lambda: of_click(standalone_mode=False))
said("typer", lambda: of_typer(standalone_mode=False))
EOF
"$work/venv/bin/python" "$work/asked.py" 2>/dev/null | tee "$work/out"
grep -qx "click raised Abort" "$work/out"
grep -qx "typer returned 130" "$work/out"
echo "as described"
