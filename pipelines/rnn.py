"""An LSTM on sequences: by default real handwritten digits, read row by row."""

from components.chain import chain

rnn = chain("rnn", __doc__, model="lstm", dataset="digits", epochs=5, batch_size=32)
