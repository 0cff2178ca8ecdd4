"""Campaigns: the folder, the append-only event log, question assignment, and live quality control."""
