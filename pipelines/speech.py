"""Twelve spoken words, told apart in voices that training never heard."""

from components.chain import chain

speech = chain(
    "speech",
    __doc__,
    model="speech_lstm",
    dataset="words",
    baseline="spectrum",
    epochs=20,
    batch_size=64,
)
