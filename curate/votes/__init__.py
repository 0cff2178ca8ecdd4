"""Votes as integer columns and per-prompt preference graphs: the input of every ranker."""
