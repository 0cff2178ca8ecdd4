"""N-way items: which responses of a prompt form an item, and in which order."""
