"""The voting page: one screen for an annotator, one for a manager, over HTTP; all that it shows comes from a Service."""
