"""How good a model is, on data that training never saw."""
