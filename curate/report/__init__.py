"""The report on a denoise run: pure functions from frames to figures, charts and one HTML page."""
