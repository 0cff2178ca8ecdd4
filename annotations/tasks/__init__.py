"""Task files: one row per vote to collect, in the format of each annotation platform."""
