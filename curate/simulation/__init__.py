"""Simulated worlds with known strengths: votes, scenes and video clips."""
