"""Annotator quality: profiles, agreement, accuracy on known answers, and recommendations."""
