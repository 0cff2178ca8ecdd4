"""Which pairs to ask about next, by expected information gain."""
