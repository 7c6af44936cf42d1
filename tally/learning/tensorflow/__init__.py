"""What computes: steps, gradients, random layers and prediction, in TensorFlow."""
