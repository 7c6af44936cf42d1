"""TensorFlow's own collectives (MultiWorkerMirroredStrategy) as the second engine of a gang."""
