"""How much is kept of what one run's pods post. Pure: what there is and what comes, by number.

What is there already may always be said again: only what is new counts. A body that brings too much
is refused whole.
"""

import json
from collections.abc import Collection, Mapping

from tally.costing.quotes import Kept
from tally.meter.refusal import Refusal

MOST_METRICS = 64
"""Names of what a run's steps measured."""

MOST_EVENTS = 10_000
LARGEST_EVENTS_BYTES = 8 << 20
"""Of all facts of a run's events, as JSON."""

OFTEN = frozenset({"epoch", "checkpoint", "note"})
_PART_OF_OFTEN = 0.9
"""So much of a run's room those kinds may fill that a long training tells all the time: what it
measured at its end, and why it failed, finds room still."""

LARGEST_QUOTE_BYTES = 512 << 10
"""Of a quote's document, as JSON."""

LARGEST_WORDS_BYTES = 8 << 10
"""Of how a run's measures are read, as JSON."""

MOST_CONDUCTED = 2_000
"""Rows that conductors tell of one pod."""


def size(document: Mapping[str, object]) -> int:
    """The bytes of it as the ledger keeps it."""
    return len(json.dumps(dict(document)))


def require_metrics(there: Collection[str], posted: Collection[str]) -> None:
    """Go on where a run's measures have room for these names.

    Raises:
        Refusal: 422.
    """
    further = set(posted) - set(there)
    if further and len(there) + len(further) > MOST_METRICS:
        raise Refusal(
            422,
            f"metrics: expected {MOST_METRICS} names a run at most, got "
            f"{len(there) + len(further)} with {min(further)[:64]!a}; measure under fewer names",
        )


def require_events(there: Kept, further: Kept, kinds: Collection[str]) -> None:
    """Go on where a run has room for so many further events, one at least.

    Args:
        there, further: rows, and bytes of facts.
        kinds: of the further ones.

    Raises:
        Refusal: 413.
    """
    part = _PART_OF_OFTEN if OFTEN & set(kinds) else 1.0
    which = f" with {' or '.join(sorted(OFTEN))} among them" if part < 1 else ""
    for what, found, most in (
        ("events", there.rows + further.rows, MOST_EVENTS),
        ("bytes of events' facts", there.bytes + further.bytes, LARGEST_EVENTS_BYTES),
    ):
        if found > part * most:
            raise Refusal(
                413,
                f"events: expected {part * most:.0f} {what} a run at most{which}, got {found}; "
                "tell of less",
            )


def require_quote(document: Mapping[str, object]) -> None:
    """Go on where a quote's document is none too large.

    Raises:
        Refusal: 413.
    """
    found = size(document)
    if found > LARGEST_QUOTE_BYTES:
        raise Refusal(
            413,
            f"quote.document: expected {LARGEST_QUOTE_BYTES} bytes at most, got {found}; "
            "leave out rows",
        )


def require_words(document: Mapping[str, object]) -> None:
    """Go on where the words of a run's task are none too many.

    Raises:
        Refusal: 413.
    """
    found = size(document)
    if found > LARGEST_WORDS_BYTES:
        raise Refusal(
            413,
            f"words: expected {LARGEST_WORDS_BYTES} bytes at most, got {found}; report less",
        )


def require_conducted(there: Mapping[str, int], further: Mapping[str, int]) -> None:
    """Go on where these pods have room for so many further rows.

    Args:
        there, further: rows by the pod's uid.

    Raises:
        Refusal: 413.
    """
    for uid, count in further.items():
        rows = there.get(uid, 0) + count
        if rows > MOST_CONDUCTED:
            raise Refusal(
                413,
                f"usage: expected {MOST_CONDUCTED} rows of one pod at most, got {rows} of "
                f"{uid!a}; tell of longer intervals",
            )
