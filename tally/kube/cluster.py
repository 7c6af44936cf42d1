"""The API server: requests with plain objects, answers in one sentence where it refuses."""

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import urllib3
from kubernetes import client, config
from kubernetes.config import ConfigException

from tally.errors import RunError
from tally.kube.here import in_cluster
from tally.kube.template import Object

_TRY_AGAIN = (429, 500, 502, 503, 504)
_PAUSE_SECONDS = 0.3
_NETWORK_NAMESPACE = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"


class Refused(RunError):
    """The API server said no, or nothing in time.

    Attributes:
        status: the HTTP status; 0 where no answer came.
        why: its own word for it: "NotFound", "AlreadyExists", "Forbidden", …
        words: its own sentence, "" where it has none.
    """

    def __init__(self, what: str, status: int, why: str, words: str) -> None:
        super().__init__(
            f"Kubernetes: expected to {what}, got {status or 'no answer'} ({words or why}); "
            + _REMEDIES.get(status, "look at the cluster, then `make resume`")
        )
        self.status, self.why, self.words = status, why, words


_REMEDIES = {
    401: "renew the credentials of the kubeconfig or the service account",
    403: "give the account the Role of manifests/gang-rbac.yaml, or more quota",
    404: "check the name and the namespace",
}


class Cluster:
    """An API server, reached by the kubeconfig or as the service account of this pod."""

    def __init__(self, kubeconfig: str | None = None) -> None:
        """Connects to nothing yet.

        Args:
            kubeconfig: a file; None is this pod's service account, else KUBECONFIG's.

        Raises:
            RunError: there are no credentials.
        """
        settings = client.Configuration()
        settings.retries = False
        try:
            if kubeconfig is None and in_cluster():
                config.load_incluster_config(client_configuration=settings)
            else:
                config.load_kube_config(kubeconfig, client_configuration=settings)
        except ConfigException as error:
            raise RunError(
                f"Kubernetes: expected a kubeconfig or a pod's service account, got '{error}'; "
                "set KUBECONFIG"
            ) from error
        self._client = client.ApiClient(settings)

    def request(
        self,
        method: str,
        path: str,
        body: Object | None = None,
        *,
        query: Mapping[str, str] | None = None,
        seconds: float = 10.0,
    ) -> Object:
        """The answer to one request; repeated while the server is not to be reached.

        Args:
            method: "GET", "POST", "PATCH" (a merge patch), "DELETE".
            path: without the leading slash.
            body: an object, or DeleteOptions.
            query: of the address.
            seconds: for all attempts together.

        Raises:
            Refused: it was refused, or not answered in time.
        """
        deadline = time.monotonic() + seconds
        while True:
            left = max(0.1, deadline - time.monotonic())
            try:
                with self._send(method, path, body, query, (min(left, 5.0), left)) as response:
                    return json.loads(response.data) if response.data else {}
            except client.ApiException as error:
                retry, refused = error.status in _TRY_AGAIN, _refused(method, path, error)
            except urllib3.exceptions.HTTPError as error:
                words = " ".join(str(error).split())[:200]
                retry, refused = True, Refused(f"{method} {path}", 0, type(error).__name__, words)
            if not retry or time.monotonic() + _PAUSE_SECONDS > deadline:
                raise refused
            time.sleep(_PAUSE_SECONDS)

    def text(
        self, path: str, query: Mapping[str, str] | None = None, *, seconds: float = 10.0
    ) -> str:
        """An answer that is plain text, asked for once: the log of a pod's container.

        Raises:
            Refused: it was refused, or not answered in time.
        """
        try:
            with self._send("GET", path, None, query, (min(seconds, 5.0), seconds)) as response:
                return str(response.data.decode("utf-8", "replace"))
        except client.ApiException as error:
            raise _refused("GET", path, error) from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise Refused(f"GET {path}", 0, type(error).__name__, str(error)[:200]) from error

    def watch(
        self, path: str, query: Mapping[str, str], *, seconds: int
    ) -> Iterator[tuple[str, Object]]:
        """Changes from a resourceVersion on: (type, object), until the server ends it.

        Args:
            path: of the list.
            query: its selectors and resourceVersion.
            seconds: after which the server ends it.

        Raises:
            Refused: with status 410 where the resourceVersion is too old.
        """
        query = {
            **query,
            "watch": "true",
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(seconds),
        }
        try:
            with self._send("GET", path, None, query, (5.0, seconds + 10.0)) as response:
                rest = b""
                for chunk in response.stream(amt=None, decode_content=False):
                    *lines, rest = (rest + chunk).split(b"\n")
                    for line in filter(None, lines):
                        event = json.loads(line)
                        if event["type"] == "ERROR":
                            status = event["object"]
                            raise Refused(
                                f"watch {path}",
                                int(status.get("code", 0)),
                                status.get("reason", ""),
                                status.get("message", ""),
                            )
                        yield event["type"], event["object"]
        except client.ApiException as error:
            raise _refused("watch", path, error) from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise Refused(f"watch {path}", 0, type(error).__name__, "connection lost") from error

    def _send(
        self,
        method: str,
        path: str,
        body: Object | None,
        query: Mapping[str, str] | None,
        timeouts: tuple[float, float],
    ) -> Any:
        merge = "application/merge-patch+json"
        response, _, _ = self._client.call_api(
            f"/{path}",
            method,
            query_params=list((query or {}).items()),
            header_params={
                "Accept": "application/json",
                "Content-Type": merge if method == "PATCH" else "application/json",
            },
            body=body,
            auth_settings=["BearerToken"],
            _preload_content=False,
            _request_timeout=timeouts,
        )
        return _Closing(response)


class _Closing:
    """A response that gives its connection back."""

    def __init__(self, response: Any) -> None:
        self._response = response

    def __enter__(self) -> Any:
        return self._response

    def __exit__(self, *error: object) -> None:
        if error[0] is None:
            self._response.drain_conn()
        else:
            self._response.close()
        self._response.release_conn()


def _refused(method: str, path: str, error: Any) -> Refused:
    try:
        status = json.loads(error.body)
    except (TypeError, ValueError):
        status = {}
    return Refused(
        f"{method} {path}",
        int(error.status or 0),
        str(status.get("reason") or error.reason or ""),
        str(status.get("message") or ""),
    )


class Context(NamedTuple):
    """Where a kubeconfig leads: "" is what it does not say."""

    name: str
    namespace: str


def current_context() -> Context:
    """The kubeconfig's current context; in a pod one without a name, and the pod's namespace."""
    if in_cluster():
        return Context("", own_namespace())
    _, context = config.list_kube_config_contexts()
    return Context(str(context["name"]), str(context["context"].get("namespace") or ""))


def own_namespace() -> str:
    """The namespace of this pod; "default" outside a cluster."""
    try:
        with open(_NETWORK_NAMESPACE, encoding="utf-8") as file:
            return file.read().strip()
    except OSError:
        return "default"
