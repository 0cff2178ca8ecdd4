"""A release: an immutable, versioned folder of training data and benchmark, with its media, its proof and its card."""
