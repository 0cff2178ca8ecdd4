"""Planning: which votes to collect next, and how accurate the rankings will be after them."""
