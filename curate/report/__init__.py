"""The HTML report on a denoise run: figures, charts and page."""
