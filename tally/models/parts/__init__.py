"""What several models are made of: each builds Keras layers and has their closed form."""
