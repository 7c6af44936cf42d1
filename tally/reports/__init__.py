"""Templates and plots: the report, Kubeflow's HTML artifacts, runs side by side, bills in text."""
