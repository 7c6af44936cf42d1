"""Tasks that Tally does not have, one a file: what tests register to see that no more is needed."""
