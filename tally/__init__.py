"""Tally: quote, scale and bill Kubeflow training runs."""

__version__ = "0.1.0"
