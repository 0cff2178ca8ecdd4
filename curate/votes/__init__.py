"""Votes as integer columns and per-prompt preference graphs: the input of every ranker."""

from curate.votes.arrays import BOTH_BAD, LEFT, RIGHT, SHARE_LEFT, TIE, VoteArrays
from curate.votes.graphs import GraphBatch, build_graphs

__all__ = ["BOTH_BAD", "LEFT", "RIGHT", "SHARE_LEFT", "TIE", "GraphBatch", "VoteArrays", "build_graphs"]
