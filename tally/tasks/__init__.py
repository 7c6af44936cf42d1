"""What is learned, one file a task: its targets, head, loss, figures and measures.

The folder is the registry. Losses are in keras.ops and measures in numpy; no task knows TensorFlow,
Kubeflow, or who trains.
"""
