"""Smaller models out of a trained one: pruned, structured, quantised; each a .tflite file."""
