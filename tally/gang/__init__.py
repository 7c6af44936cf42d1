"""Who works together: members, their ranks, what they tell, and sums over all of them."""
