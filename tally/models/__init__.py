"""Models: one a file, closed-form costs, and the registry that finds them by name."""
