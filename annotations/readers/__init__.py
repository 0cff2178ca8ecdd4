"""Vote files of any common format to clean rows and named rejects."""
