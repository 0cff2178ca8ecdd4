"""Files that exports for evaluation programs hold a copy of; they run there, beside the data, without curate."""
