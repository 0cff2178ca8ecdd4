"""How certain a ranking is: posterior probabilities, rank intervals, orthant probabilities, bootstrap."""
