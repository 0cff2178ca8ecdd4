"""Items as files: Parquet and JSONL shards, dataset card, atomic writes."""
