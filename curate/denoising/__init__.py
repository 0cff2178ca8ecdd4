"""From votes to rankings: coverage, all rankers, and the choice among them."""
