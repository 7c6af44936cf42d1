"""`ngrams`: logistic regression on a text's character n-grams, tuned on the training split alone.

The n-grams stay inside words (with their edges), weighted by tf-idf with 1 + log(tf). How long they
may be and the strength of the regularisation are chosen by stratified threefold cross-validation.

Source: Wang and Manning, Baselines and bigrams, ACL 2012; scikit-learn's implementations.
"""

from typing import Any

import numpy as np

from tally.baselines import Answers, share_right
from tally.data.format import Array, Dataset, Meta, Split
from tally.errors import DataError

VERSION = 1
LONGEST = (3, 6)  # characters
STRENGTHS = (10.0, 30.0, 100.0)  # scikit-learn's C
CHARACTER_SECONDS = 8e-5  # to tune and fit, a character of the training split


def check(meta: Meta) -> None:
    """Say whether the baseline suits a dataset.

    Raises:
        DataError: it is no text.
    """
    if meta.kind != "tokens" or not meta.vocabulary:
        raise DataError(
            f"baseline=ngrams: expected text, got {meta.kind} in dataset {meta.name}; "
            'pass SET="baseline=" for none'
        )


def usual_seconds(dataset: Dataset) -> float:
    """About what `answers` takes."""
    return CHARACTER_SECONDS * len(dataset.splits["train"]) * dataset.meta.input_shape[0]


def answers(dataset: Dataset) -> Answers:
    """Tune, fit on the training split, and predict the test split."""
    from sklearn.linear_model import LogisticRegression

    train, test = (dataset.splits[name] for name in ("train", "test"))
    labels, texts = train.targets(), _texts(train, dataset.meta)
    if len(np.unique(labels)) < 2:
        return Answers("the only class there is", np.full(len(test), labels[0]))

    def model(strength: float) -> Any:
        return LogisticRegression(C=strength, max_iter=1000, solver="lbfgs")

    def right(longest: int, strength: float) -> float:
        return share_right(model(strength), features[longest], labels)

    features = {longest: _vectorizer(longest).fit_transform(texts) for longest in LONGEST}
    longest = max(LONGEST, key=lambda each: right(each, STRENGTHS[0]))
    strength = max(STRENGTHS, key=lambda each: right(longest, each))
    vectorizer = _vectorizer(longest)
    fitted = model(strength).fit(vectorizer.fit_transform(texts), labels)
    predicted = fitted.predict(vectorizer.transform(_texts(test, dataset.meta)))
    told = f"logistic regression on character n-grams of up to {longest}, C = {strength:g}"
    return Answers(told, np.asarray(predicted))


def _vectorizer(longest: int) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(
        analyzer="char_wb", ngram_range=(1, longest), sublinear_tf=True, lowercase=False,
        dtype=np.float32,
    )  # fmt: skip


def _texts(split: Split, meta: Meta) -> list[str]:
    """The texts that tokens were made of, as far as the vocabulary knows their characters."""
    rows: Array = split.gather(np.arange(len(split)))[0]
    return ["".join(meta.vocabulary[token] for token in row) for row in rows.tolist()]
