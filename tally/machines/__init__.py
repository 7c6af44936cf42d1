"""The catalogue of machine types with their prices."""
