"""The one decorator that all components share."""

import functools

from kfp import dsl

from tally.content import COMPONENTS_IMAGE

# Tally and its libraries are in the image (or in this Python, locally): nothing is installed at
# run time.
component = functools.partial(dsl.component, base_image=COMPONENTS_IMAGE, install_kfp_package=False)
