"""The `tally` command: parse, call, print.

Exit codes: 0 done, 1 the run failed, 2 bad input, 130 interrupted.
"""

import sys
from typing import NoReturn

import typer

from tally.cli import connecting, meter, models, money, running, schedule
from tally.errors import TallyError
from tally.runs import connected

app = typer.Typer(
    add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False,
    help="Kubeflow pipelines that quote a training run, scale it, and bill every second.",
)  # fmt: skip


@app.callback()
def begin(context: typer.Context) -> None:
    """What is kept of a cluster counts for all commands but the one that looks for it."""
    if context.invoked_subcommand != "connect":
        connected.complete()


app.add_typer(running.app)
app.add_typer(money.app)
app.add_typer(models.app)
app.add_typer(connecting.app)
app.add_typer(schedule.app, name="schedule")
app.add_typer(meter.app, name="meter")


def main() -> NoReturn:
    """Run the command; errors are one line on stderr, after where code of the user's failed."""
    try:
        code = app(standalone_mode=False)  # typer turns Ctrl-C into 130; commands return None
        sys.exit(code or 0)
    except TallyError as error:
        print(*filter(None, [error.story, str(error)]), sep="\n", file=sys.stderr)
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
    except Exception as error:
        # click's usage errors: an unknown command or option, a missing argument
        if (show := getattr(error, "format_message", None)) is None:
            raise
        if said := show().rstrip("."):
            variable = getattr(getattr(error, "param", None), "envvar", None)
            remedy = f"pass {variable}=…" if variable else "see `tally --help`"
            print(f"tally: {said}; {remedy}", file=sys.stderr)
        sys.exit(2)
    sys.exit(0)
