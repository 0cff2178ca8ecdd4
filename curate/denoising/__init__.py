"""From votes to rankings: the choice of a ranker by held-out votes, and ``ranking.rank_votes``."""
