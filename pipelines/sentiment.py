"""A Transformer on texts, negative or positive, beside logistic regression on their n-grams."""

from components.chain import chain

sentiment = chain(
    "sentiment",
    __doc__,
    model="transformer",
    dataset="vader",
    baseline="ngrams",
    epochs=18,
    batch_size=64,
    learning_rate=0.0005,
)
