"""Words from outside as one plain line, which is never cut in the middle of a word. Pure."""

import re

_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")
_SENTENCE_ENDS = re.compile(r"[.;!?](?= )")
_MORE = " …"
_LEAST_KEPT = 0.5  # of the room: an earlier end of a sentence is no place to cut


def one_line(text: str, most: int) -> str:
    """The text in one line of printable characters, without what a terminal would obey.

    Args:
        text: of a program, a container, an API.
        most: characters. A longer one ends with its last whole sentence, else its last whole word,
            and then "…".
    """
    plain = "".join(one if one.isprintable() else " " for one in _ESCAPES.sub("", text))
    line = " ".join(plain.split())
    if len(line) <= most:
        return line
    room = line[: most - len(_MORE) + 1]  # with the character after it: a word may end just there
    ends = [found.end() for found in _SENTENCE_ENDS.finditer(room)]
    if ends and ends[-1] >= _LEAST_KEPT * most:
        return room[: ends[-1]].rstrip(";") + _MORE
    whole = room.rpartition(" ")[0]
    return whole + _MORE if whole else line[: most - 1] + _MORE.strip()
