"""vader: 7,500 words and emoticons rated by people, positive or negative, as characters.

The lexicon of vaderSentiment (C. J. Hutto and E. Gilbert, ICWSM 2014; MIT licence): ten people
rated each entry from -4 to 4, the label is the sign of their mean. It is a real but small set and
a hard one: the sign of a *word* has to be guessed from its spelling, so most of what can be learnt
are families of words (abuse, abused, abusive), whose members fall into both splits. It shows text
going through a pipeline; it is no measure of sentiment analysis. One entry in five is held out,
stratified, always the same ones.
"""

from collections.abc import Iterator

import numpy as np

from tally.data.content import Content
from tally.data.installed import package_file
from tally.data.split import held_out
from tally.data.text import Row, text_content
from tally.spec import Spec

VERSION = 1
OPTIONS = ("sequence_length",)
FILE = ("vaderSentiment", "vader_lexicon.txt")
LONGEST = 24  # no entry is longer: a longer sequence would only be padding


def entries() -> list[tuple[str, int]]:
    """Every entry in small letters, once (its first rating), with 1 for positive, 0 for negative.

    Raises:
        DataError: vaderSentiment is not installed.
    """
    ratings: dict[str, int] = {}
    for line in package_file(*FILE).read_text(encoding="utf-8").splitlines():
        if line.strip():
            text, mean = line.split("\t")[:2]
            ratings.setdefault(text.lower(), int(float(mean) > 0))
    return list(ratings.items())


def load(spec: Spec) -> Content:
    """The entries, at most sequence_length characters each; see the module's docstring."""
    examples = entries()
    test = held_out(np.array([label for _, label in examples]))

    def rows() -> Iterator[Row]:
        for (text, label), out in zip(examples, test.tolist(), strict=True):
            yield ("test" if out else "train"), label, text

    length = min(spec.sequence_length, LONGEST)
    return text_content("vader", ("negative", "positive"), rows, length)
