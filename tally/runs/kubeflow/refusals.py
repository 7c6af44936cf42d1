"""What the server of Kubeflow Pipelines answers where it does not do what was asked."""

from typing import Any

from tally.errors import RunError, SpecError
from tally.runs.kubeflow.words import plain, sentence


class ApiRefused(SpecError):
    """The server says no: 4xx, and it is not asked again.

    Attributes:
        status: HTTP's.
        words: the server's reason, one sentence.
    """

    def __init__(self, what: str, status: int, words: str, remedy: str = "") -> None:
        super().__init__(f"Kubeflow: expected to {what}, got {status} ({words}); {remedy}")
        self.status, self.words = status, words


class ApiFailed(RunError):
    """The server answers 5xx or not at all, also when asked again until the time was over.

    Whether what was asked has happened is unknown.

    Attributes:
        status: HTTP's; 0 where no answer came.
        words: the server's reason, one sentence. It answers 500 to some of its clients' mistakes.
    """

    def __init__(self, what: str, status: int, words: str) -> None:
        got = f"{status} ({words})" if status else f"no answer ({words})"
        super().__init__(f"Kubeflow: expected to {what}, got {got}; {_REMEDY_FAILED}")
        self.status, self.words = status, words


_REMEDY_FAILED = "look at KFP_HOST and the server's log, then try again"
_REMEDIES = {
    401: "renew the token of KFP_TOKEN_FILE or KFP_TOKEN",
    403: "check KFP_NAMESPACE, or let a profile's owner add this account",
    404: "check the name, and that KFP_HOST is the right installation",
}


def refused(host: str, what: str, error: Any) -> SpecError | ApiFailed:
    """The error for kfp_server_api's ApiException.

    Args:
        host: that was asked.
        what: was wanted of it.
        error: with status, reason and body; its status is 0 for a certificate that is not trusted.
    """
    status = int(error.status or 0)
    if status == 0:
        return unanswered(host, what, error)
    words = sentence(error.body) or str(error.reason or "no reason given")
    if 300 <= status < 400:
        return SpecError(
            f"KFP_HOST: expected an answer of {host}, got a redirection (to a login, or to another "
            "address); pass a valid token, or correct the address"
        )
    if status >= 500:
        return ApiFailed(what, status, words)
    return ApiRefused(what, status, words, _REMEDIES.get(status, "correct it"))


def unanswered(host: str, what: str, error: Exception) -> SpecError | ApiFailed:
    """The error for a connection that was not made, or broke.

    Args:
        host: that was asked.
        what: was wanted of it.
        error: urllib3's, or the system's.
    """
    words = plain(str(getattr(error, "reason", None) or error))
    if words == "certificate verify failed":
        return SpecError(
            f"KFP_HOST: expected a certificate of {host} that is trusted, got another one; set "
            "KFP_CA to the PEM file of the authority that signed it"
        )
    return ApiFailed(what, 0, words or type(error).__name__)
