"""Commands that connect a person to a cluster."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()
_DAY_SECONDS = 24 * 3600

NamespaceOption = Annotated[
    str, typer.Option(envvar="NAMESPACE", help="where runs are; the kubeconfig's without")
]
AccountOption = Annotated[
    str, typer.Option(envvar="ACCOUNT", help="a service account there; that of runs without")
]
DurationOption = Annotated[
    int,
    typer.Option(
        envvar="DURATION_SECONDS",
        min=600,
        max=2**32,
        help="of the token; the cluster may give less",
    ),
]


@app.command()
def connect(
    meter_url: Annotated[
        str,
        typer.Option(envvar="METER_URL", help="the meter, where no address of its Service leads"),
    ] = "",
    duration_seconds: DurationOption = _DAY_SECONDS,
) -> None:
    """Find the kubeconfig's Kubeflow, meter and store, and keep where they are for all commands."""
    from tally.runs.connecting import findings

    bad = False
    for finding in findings(duration_seconds, meter_url):
        bad = bad or (finding.needed and not finding.good)
        print(finding.line(), flush=True)
    sys.exit(1 if bad else 0)


@app.command()
def token(
    namespace: NamespaceOption = "",
    account: AccountOption = "",
    duration_seconds: DurationOption = _DAY_SECONDS,
    out: Annotated[
        Path | None, typer.Option(envvar="OUT", help="the file; meter-token in TALLY_HOME without")
    ] = None,
    show: Annotated[bool, typer.Option("--print", help="print it, and write no file")] = False,
) -> None:
    """Make a token with which the meter knows whose runs one may see; into a file of mode 0600."""
    from tally.kube.cluster import Cluster
    from tally.runs import persontoken

    asked = persontoken.Asked(duration_seconds, namespace, account)
    whose, made = persontoken.made(Cluster(), asked)
    if show:
        print(made.token)
        return
    file = (out or persontoken.default_file()).absolute()
    persontoken.require_same_cluster(file)
    persontoken.keep(made, file)
    used = os.environ.get("TALLY_METER_TOKEN_FILE") == str(file)
    print(
        f"a token of {whose.namespace}/{whose.name} for the meter, until "
        f"{made.ends:%Y-%m-%d %H:%M} UTC"
        + (f", in {file}" if used else f"; export TALLY_METER_TOKEN_FILE={file}")
    )
