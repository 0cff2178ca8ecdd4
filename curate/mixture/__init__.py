"""Training mixtures: public preference datasets converted to N-way items, without duplicates and benchmark prompts."""
