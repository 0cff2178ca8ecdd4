"""A campaign: its folder, its append-only log, who is asked what, and how well they do."""
