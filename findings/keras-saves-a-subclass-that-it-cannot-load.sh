#!/bin/sh
# Keras 3.15.1, on JAX 0.7.2 here; the same on TensorFlow 2.21.0.
#
# Guessed: build() makes a subclass's variables, as it makes a Sequential's; and what save() has written
# without a word, load_model() reads where the class is known.
# Seen: build() marks a subclass of Model that has none of its own as built, with no variable made (it
# warns); calling it on an Input makes them all. save() writes a model.keras of a subclass whose
# __init__ takes no arguments, and load_model() fails: the default get_config() has `trainable` and
# `dtype`, which go to __init__.
# So: call a subclass once before its variables are counted; try from_config() before relying on a file.
#
# Fails if build() makes variables, or the file can be loaded.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install -q --disable-pip-version-check keras==3.15.1 jax==0.7.2
cat >"$work/asked.py" <<'EOF'
import sys
import warnings

import keras


class Small(keras.Model):
    def __init__(self):
        super().__init__()
        self.last = keras.layers.Dense(2)

    def call(self, x):
        return self.last(x)


warnings.simplefilter("ignore")
model = Small()
model.build((None, 4))
print(f"built {model.built}, variables {len(model.variables)}")
model(keras.Input((4,)))
print(f"called, variables {len(model.variables)}")
model.save(sys.argv[1])
try:
    keras.models.load_model(sys.argv[1], custom_objects={"Small": Small})
except TypeError as error:
    print("not loaded:", str(error).splitlines()[-1])
EOF
KERAS_BACKEND=jax JAX_PLATFORMS=cpu "$work/venv/bin/python" "$work/asked.py" "$work/model.keras" | tee "$work/out"
grep -qx "built True, variables 0" "$work/out"
grep -qx "called, variables 2" "$work/out"
grep -q "not loaded: .*unexpected keyword argument 'trainable'" "$work/out"
echo "as described"
