"""The reward model: N responses to one prompt, one forward pass, a score for each. Reads shards, never the store."""
