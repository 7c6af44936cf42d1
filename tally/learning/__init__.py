"""Who learns: the worker process, its order, batches, steps, checkpoints and output."""
