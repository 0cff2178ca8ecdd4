"""Items as files: output formats and atomic folders."""
