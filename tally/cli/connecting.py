"""Commands that connect a person to a cluster."""

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
    persontoken.keep(made, file)
    print(
        f"a token of {whose.namespace}/{whose.name} for the meter, until "
        f"{made.ends:%Y-%m-%d %H:%M} UTC; export TALLY_METER_TOKEN_FILE={file}"
    )
