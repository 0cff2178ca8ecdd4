"""The voting page: a screen for annotators and one for managers, over HTTP; all that it shows comes from a Service."""
