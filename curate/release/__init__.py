"""Releases: immutable, versioned folders of training data and benchmark, with media, metadata and verification."""
