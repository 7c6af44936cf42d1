"""Arguments and options of several commands; each can come from the environment, as of make."""

import os
from typing import Annotated

import typer

PipelineArgument = Annotated[
    str, typer.Argument(envvar="PIPELINE", help="cnn, rnn, or a file with model() and dataset()")
]
RunArgument = Annotated[
    str, typer.Argument(envvar="RUN", help="a run's id, or as much of it as is unique")
]
NamespaceOption = Annotated[
    str, typer.Option(envvar="NAMESPACE", help="the run's, where several have one of that id")
]
SinceOption = Annotated[
    str, typer.Option(envvar="SINCE", metavar="DAY", help="the first day (UTC): 2026-11-01")
]
UntilOption = Annotated[
    str, typer.Option(envvar="UNTIL", metavar="DAY", help="the day after the last: 2026-12-01")
]
EngineOption = Annotated[
    str, typer.Option(envvar="ENGINE", help="local or cluster; cluster where KFP_HOST is set")
]
CancelOption = Annotated[
    bool, typer.Option("--cancel", help="Ctrl-C ends a cluster's run, instead of leaving it")
]
SettingsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="a parameter; can be repeated [env var: SET, as a shell splits words]",
    ),
]
YesOption = Annotated[
    bool, typer.Option("--yes", envvar="YES", help="agree to the quote, whatever it is")
]
ConfirmOption = Annotated[
    float,
    typer.Option(
        "--confirm-above",
        envvar="TALLY_CONFIRM_ABOVE_USD",
        min=0.0,
        metavar="USD",
        help="ask from here on",
    ),
]
ProbeOption = Annotated[
    bool,
    typer.Option(
        "--probe", envvar="PROBE", help="list the store from a pod, which is removed again; 60 s"
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", envvar="JSON", help="print JSON")]


def asked(settings: list[str] | None) -> dict[str, str]:
    """Parameters as given: by --set, or by SET."""
    from tally.spec import parse_settings, split_settings

    return parse_settings(settings or split_settings(os.environ.get("SET", "")))
