"""What people produce: vote files of any common format become clean rows and named rejects."""
