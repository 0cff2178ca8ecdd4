"""Read vote files of any common format as clean rows and rejects: formats, columns, rules."""
