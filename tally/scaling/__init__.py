"""How long, how well, how big: step times, goodput and the policy that sizes a gang. Pure."""
