"""The one decorator that all components share."""

import functools

from kfp import dsl

from tally import __version__

# Tally and its libraries are in the image (or in this Python, locally): nothing is installed at
# run time.
component = functools.partial(
    dsl.component, base_image=f"tally:{__version__}", install_kfp_package=False
)
