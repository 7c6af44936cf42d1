"""Runs: submit, resume, cancel, and looking back; the only room that drives Kubeflow Pipelines."""
