"""The voting page: an HTTP application for annotators and managers of an open campaign."""
