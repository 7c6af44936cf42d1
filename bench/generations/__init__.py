"""Generations in a process each, forked or cold: what the gang in one process is measured against.

TensorFlow means a process to be in one cluster for its life. Where that is obeyed, each generation
takes a new process, forked from one that has imported everything and runs no thread; weights pass
through shared memory. bench.resize shows what that costs beside clusters that re-form in place.
"""
