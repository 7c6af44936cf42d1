"""Where Kubeflow Pipelines is and as whom to ask, from the environment.

    KFP_HOST         https://kubeflow.example/pipeline, or http://localhost:8888
    KFP_TOKEN_FILE   a file with a bearer token, read for each request: the kubelet, or whoever
                     renews it, puts another one there from time to time
    KFP_TOKEN        a bearer token, where there is no such file
    KFP_NAMESPACE    the profile's namespace; on a single-user installation, where its pods are
    KFP_CA           PEM certificates, where Mozilla's are not enough
    KFP_EXPERIMENT   the experiment that runs belong to; the pipeline's name without
    KFP_SERVICE_ACCOUNT  of the runs' pods; Kubeflow's default without
    KF_PIPELINES_UI_ENDPOINT  kfp's own name for where the UI is; KFP_HOST without

Without KFP_TOKEN_FILE and KFP_TOKEN, the service account token that Kubeflow projects into
notebooks and pods is taken where there is one.
"""

import base64
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from tally.errors import SpecError

_PROJECTED = "/var/run/secrets/kubeflow/pipelines/token"  # kfp.client.KF_PIPELINES_SA_TOKEN_PATH
_TOKEN = re.compile(r"[\x21-\x7e]{1,16384}")
_SINGLE_USER_NAMESPACE = "kubeflow"


@dataclass(frozen=True)
class Settings:
    """One installation, and the credentials for it."""

    host: str
    namespace: str = ""
    token_file: Path | None = None
    fixed_token: str = field(default="", repr=False)
    ca: str | None = None
    experiment: str = ""
    service_account: str = ""
    ui: str = ""

    @property
    def pods_namespace(self) -> str:
        """Where the runs' pods are."""
        return self.namespace or _SINGLE_USER_NAMESPACE

    def token(self) -> str:
        """The bearer token as it is now, "" where none is wanted.

        Raises:
            SpecError: the file is gone or holds something else.
        """
        if self.token_file is None:
            return self.fixed_token
        try:
            token = self.token_file.read_text(encoding="ascii").strip()
        except (OSError, ValueError) as error:
            raise SpecError(
                f"KFP_TOKEN_FILE: expected a file with a token, got {self.token_file} "
                f"({type(error).__name__}); correct the path"
            ) from error
        return _one_token("KFP_TOKEN_FILE", token)

    def who(self) -> str:
        """Whom the token names, for people; what it says is not verified here."""
        token = self.token()
        if not token:
            return "nobody (no token)"
        try:
            payload = token.split(".")[1]
            facts = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
            name = str(facts.get("email") or facts["sub"])
        except (IndexError, ValueError, KeyError, TypeError, AttributeError):
            name = ""
        if not name or not name.isprintable():
            return "the token of " + ("KFP_TOKEN_FILE" if self.token_file else "KFP_TOKEN")
        return name[:200]


def settings(environment: Mapping[str, str] = os.environ) -> Settings | None:
    """What the environment says, None without KFP_HOST.

    Raises:
        SpecError: a value cannot be right.
    """
    host = environment.get("KFP_HOST", "").strip().rstrip("/")
    if not host:
        return None
    _require_url(host)
    path = environment.get("KFP_TOKEN_FILE", "").strip()
    token = environment.get("KFP_TOKEN", "").strip()
    if not path and not token and Path(_PROJECTED).is_file():
        path = _PROJECTED
    ca = environment.get("KFP_CA", "").strip() or None
    if ca and not Path(ca).is_file():
        raise SpecError(f"KFP_CA: expected a file of PEM certificates, got {ca}; correct the path")
    return Settings(
        host=host,
        namespace=environment.get("KFP_NAMESPACE", "").strip(),
        token_file=Path(path) if path else None,
        fixed_token=_one_token("KFP_TOKEN", token) if token and not path else "",
        ca=ca,
        experiment=environment.get("KFP_EXPERIMENT", "").strip(),
        service_account=environment.get("KFP_SERVICE_ACCOUNT", "").strip(),
        ui=environment.get("KF_PIPELINES_UI_ENDPOINT", "").strip().rstrip("/"),
    )


def on_cluster(engine: str, environment: Mapping[str, str] = os.environ) -> bool:
    """Whether runs are the cluster's: as ENGINE says, without it where KFP_HOST is set.

    Raises:
        SpecError: ENGINE is neither local nor cluster.
    """
    if engine not in ("", "local", "cluster"):
        raise SpecError(f"ENGINE: expected local or cluster, got {engine}; leave it out for either")
    return engine == "cluster" or (not engine and bool(environment.get("KFP_HOST", "").strip()))


def _one_token(name: str, token: str) -> str:
    if not _TOKEN.fullmatch(token):  # the value itself is a secret: it is not shown
        raise SpecError(f"{name}: expected one bearer token, got something else; correct it")
    return token


def _require_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        good = good and parts.username is None and not parts.query and not parts.fragment
    except ValueError:
        good = False
    if not good or not url.isascii() or not url.isprintable() or set(" \\") & set(url):
        raise SpecError(
            "KFP_HOST: expected an address like https://kubeflow.example/pipeline, got "
            f"{_without_user(url)[:100]!a}; correct it"
        )


def _without_user(url: str) -> str:
    """The address without user:password, which are a secret."""
    return re.sub(r"//[^/]*@", "//…@", url)
