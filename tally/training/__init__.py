"""Training: order, loop, checkpoint, the worker process, and prediction."""
