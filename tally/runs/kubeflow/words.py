"""Pure: what a person should read of the server's answers and of a step's log."""

import json
import re

from tally.oneline import one_line

_WORDS = 300
_INNERMOST = ("ResourceNotFoundError: ", "Invalid input error: ", "Already exist error: ",
              "InternalServerError: ", "BadRequestError: ")  # fmt: skip
_KLOG = re.compile(r"^([IWEF])\d{4} \d\d:\d\d:\d\d\.\d+ +\d+ \S+\] (.*)")
_RAISED = re.compile(r"^[A-Za-z_][\w.]*(?:Error|Exception|Interrupt|Exit|Warning): \S")
_NOT_SAID = ("[KFP Executor", "{", "}", '"', " ")


def sentence(body: str | bytes | None) -> str:
    """Why the server refused, in its own sentence, on one line: "" where it gave no reason.

    It answers {"code", "message", "details"}, or of uploads {"error_message", "error_details"}; the
    latter details are a stack, the message wraps the reason in what was tried, outermost first.

    Args:
        body: the answer as it came.
    """
    try:
        answer = json.loads(body or "")
        message = str(answer.get("error_message") or answer.get("message") or "")
    except (ValueError, AttributeError):
        return ""  # another server's page
    lines = message.strip().splitlines()
    words = " ".join(lines[0].split()) if lines else ""
    for marker in _INNERMOST:
        words = words.rpartition(marker)[2]
    if len(words) <= _WORDS:
        return words
    return f"{words[: _WORDS // 3]} … {words[-_WORDS // 2 :]}"  # the cause comes last


def plain(text: str) -> str:
    """What went wrong with a connection, without the objects that it went through."""
    words = " ".join(text.split())
    if found := re.search(r"\[Errno -?\d+\] ([^()\[\]]+)", words):
        return found[1].strip()
    if "certificate verify failed" in words.lower():
        return "certificate verify failed"
    return words.rpartition("): ")[2][-200:]


def log_reason(text: str) -> str:
    """Why a step failed, out of the log of its pod: "" where that does not say.

    In this order: what a step of ours says it failed of, the exception that ended a component, the
    last thing that it wrote, what KFP's launcher or driver says.
    """
    lines = text.splitlines()
    plain = [line for line in lines if line.strip() and not _KLOG.match(line)]
    said = [line for line in plain if not line.startswith(_NOT_SAID)]
    found = (
        next(filter(None, map(_failed_event, reversed(plain))), "")
        or next((line for line in reversed(said) if _RAISED.match(line)), "")
        or (said[-1] if said else "")
        or next((m[2] for m in map(_KLOG.match, reversed(lines)) if m and m[1] in "EF"), "")
    )
    return one_line(found, _WORDS)


def _failed_event(line: str) -> str:
    """What a step of ours writes last: {"step": …, "event": "failed", "message": …}."""
    if not line.startswith('{"step"'):
        return ""
    try:
        event = json.loads(line)
    except ValueError:
        return ""
    return str(event.get("message", "")) if event.get("event") == "failed" else ""
