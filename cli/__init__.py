"""The command line: parse, call one function of pipelines, render."""
