"""Runs on a Kubeflow Pipelines installation: submit, watch, cancel, list, schedule."""
