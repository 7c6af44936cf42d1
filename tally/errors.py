"""The errors a person may see. Each message is one sentence: expected, got, what to do."""


class TallyError(Exception):
    """Base of every error that is told to the user as one line.

    Attributes:
        exit_code: what the command exits with: 1 the run failed, 2 bad input.
        story: lines to be shown before that one: where code of the user's failed.
    """

    exit_code = 1
    story = ""


class RunError(TallyError):
    """The run failed for a reason that is not bad input: NaN loss, full disk, a killed worker."""


class SpecError(TallyError):
    """The user's input is wrong: a parameter, a file, a dataset, a location."""

    exit_code = 2


class DataError(SpecError):
    """A dataset is missing, unreadable, corrupt, or does not fit the model."""


class UserCodeError(SpecError):
    """Code of the user's failed; see tally.usercode."""

    def __init__(self, message: str, story: str) -> None:
        super().__init__(message)
        self.story = story


class SchemaError(SpecError):
    """Something kept was written by a newer Tally than this one."""


def check_schema(what: str, found: int, supported: int) -> None:
    """Refuse what a newer Tally wrote.

    Args:
        what: what is being read, as the user knows it (a path, "the ledger").
        found: the schema version it carries.
        supported: the newest version this code reads; older ones are the caller's to convert.

    Raises:
        SchemaError: found is newer than supported.
    """
    if found > supported:
        raise SchemaError(
            f"{what}: expected schema version {supported} or older, got {found}; "
            "upgrade Tally, or use the Tally that wrote it"
        )
