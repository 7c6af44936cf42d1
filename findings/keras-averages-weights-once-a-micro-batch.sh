#!/bin/sh
# Keras 3.15.1, on JAX 0.7.2 here; the same two numbers on TensorFlow 2.21.0.
#
# Guessed: four batches of 1 with gradient_accumulation_steps=4 train as one batch of 4 does, the moving
# average of the weights (use_ema=True) included; the documentation has it that "EMA frequency will look
# at "accumulated" iterations value".
# Seen: the weights do (without use_ema both end at 4), their average does not. It is taken after each
# micro-batch, also where no weight has changed, so that a momentum m acts as m ** 4. Updates to 1, 2, 3
# and 4 with m = 0.5 end at 3.125 and, accumulated, at 3.467, with nothing said.
# So: ema_momentum=0.99 ** (1 / 4) for 0.99, which lags by less than an update; not for m far from 1.
#
# Fails if any of the four weights is another.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install -q --disable-pip-version-check keras==3.15.1 jax==0.7.2
cat >"$work/asked.py" <<'EOF'
import keras
import numpy as np


def trained(batch_size, accumulated, **average):
    """The weight after 16 examples, each with a gradient of -1, at learning rate 1."""
    dense = keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")
    model = keras.Sequential([keras.Input((1,)), dense])
    optimizer = keras.optimizers.SGD(1.0, gradient_accumulation_steps=accumulated, **average)
    model.compile(optimizer, loss=lambda truth, answer: -answer)
    ones = np.ones((16, 1), "float32")
    model.fit(ones, ones, batch_size=batch_size, verbose=0)
    return float(model.get_weights()[0][0, 0])


for average in ({}, {"use_ema": True, "ema_momentum": 0.5}):
    print(average, f"batches of 4: {trained(4, None, **average)}, 4 of 1: {trained(1, 4, **average)}")
EOF
KERAS_BACKEND=jax JAX_PLATFORMS=cpu "$work/venv/bin/python" "$work/asked.py" | tee "$work/out"
grep -qx "{} batches of 4: 4.0, 4 of 1: 4.0" "$work/out"
grep -qx "{'use_ema': True, 'ema_momentum': 0.5} batches of 4: 3.125, 4 of 1: 3.466796875" "$work/out"
echo "as described"
