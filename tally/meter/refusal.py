"""What the meter answers where it has no answer. Pure."""


class Refusal(Exception):
    """An answer that is none: why, in one sentence that the client may see.

    Attributes:
        status: HTTP's.
        sentence: expected, got, remedy.
        retry_seconds: when to ask again; 0 where that is not said.
    """

    def __init__(self, status: int, sentence: str, retry_seconds: int = 0) -> None:
        super().__init__(sentence)
        self.status, self.sentence, self.retry_seconds = status, sentence, retry_seconds
