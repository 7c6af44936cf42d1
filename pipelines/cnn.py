"""A small convolutional network on pictures: by default real handwritten digits, 28×28."""

from components.chain import chain

cnn = chain("cnn", __doc__, model="cnn", dataset="digits", epochs=5, batch_size=32)
