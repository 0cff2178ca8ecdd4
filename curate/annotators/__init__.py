"""How each annotator votes: statistics, results on control questions, recommendations."""
