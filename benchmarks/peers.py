"""Independent packages as rankers of the same votes, each with the input that it can read (extra ``bench``)."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
from scipy.stats import rankdata

from curate.array_types import Float
from curate.votes.arrays import LEFT, RIGHT, VoteArrays


def by_choix(votes: VoteArrays) -> Float:
    """Return the scores of choix.ilsr_pairwise (Bradley-Terry) per prompt. Input: one tuple per half vote."""
    import choix

    def scores(wins: Float) -> Float:
        i, j = np.nonzero(wins)
        count = np.round(2 * wins[i, j]).astype(int)
        pairs = zip(np.repeat(i, count).tolist(), np.repeat(j, count).tolist(), strict=True)
        return choix.ilsr_pairwise(len(wins), list(pairs), alpha=0.05)

    return _by_graph(votes, scores)


def by_igraph(votes: VoteArrays) -> Float:
    """Return the scores of igraph's exact minimum feedback arc set per prompt, on net weights.

    The order is a topological order of the remaining arcs; pairs without a majority are in any order.
    """
    import igraph

    def scores(wins: Float) -> Float:
        margin = wins - wins.T
        edges = np.argwhere(margin > 0)
        graph = igraph.Graph(n=len(wins), edges=edges.tolist(), directed=True)
        against = graph.feedback_arc_set(weights=margin[margin > 0].tolist(), method="ip")
        graph.delete_edges(against)
        order = graph.topological_sorting()
        return -np.argsort(order).astype(np.float64)

    return _by_graph(votes, scores)


def by_evalica(method: str) -> Callable[[VoteArrays], Float]:
    """Return a ranker that applies one of evalica's methods per prompt.

    Ties are half a win unless the method models them. Scores are unbounded (there is no prior), so ranks are used; in a
    prompt with undefined scores all responses are equal.
    """

    def scores(votes: VoteArrays) -> Float:
        import evalica

        winner = np.array([evalica.Winner.X, evalica.Winner.Y, evalica.Winner.Draw, evalica.Winner.Draw], dtype=object)
        found = np.zeros(len(votes.responses))
        order = np.argsort(votes.response_prompt[votes.left], kind="stable")
        ends = np.cumsum(np.bincount(votes.response_prompt[votes.left], minlength=len(votes.prompts)))
        for own in np.split(order, ends[:-1]):
            if not len(own):
                continue
            left, right = votes.left[own].tolist(), votes.right[own].tolist()
            result = getattr(evalica, method)(left, right, winner[votes.outcome[own]].tolist())
            places = rankdata(result.scores.to_numpy()) if result.scores.notna().all() else 0.0
            found[result.scores.index.to_numpy()] = places
        return found

    return scores


def by_crowdkit(votes: VoteArrays) -> Float:
    """Return the scores of crowd-kit's NoisyBradleyTerry for all prompts at once; it uses annotators but no ties."""
    import pandas as pd
    from crowdkit.aggregation import NoisyBradleyTerry

    decisive = votes.of_votes(np.isin(votes.outcome, [LEFT, RIGHT]))
    chosen = np.where(decisive.outcome == LEFT, decisive.left, decisive.right)
    columns = {"worker": decisive.annotator, "left": decisive.left, "right": decisive.right, "label": chosen}
    scores = NoisyBradleyTerry().fit_predict(pd.DataFrame(columns))
    found = np.zeros(len(votes.responses))
    found[scores.index.to_numpy()] = scores.to_numpy()
    return found


def _by_graph(votes: VoteArrays, scores: Callable[[Float], Float]) -> Float:
    """Return (R,) the scores of each prompt's wins, (N, N)."""
    found = np.zeros(len(votes.responses))
    for graphs in votes.graphs:
        for slots, wins in zip(graphs.slots, graphs.wins, strict=True):
            found[slots] = scores(wins)
    return found


MANY = sys.maxsize
PEERS: dict[str, tuple[str, Callable[[VoteArrays], Float], int]] = {
    "choix ilsr": ("choix", by_choix, 50),
    "evalica bradley-terry": ("evalica", by_evalica("bradley_terry"), MANY),
    "evalica newman": ("evalica", by_evalica("newman"), MANY),
    "evalica pagerank": ("evalica", by_evalica("pagerank"), MANY),
    "igraph feedback arcs": ("igraph", by_igraph, 10),
    "crowd-kit noisy bt": ("crowdkit", by_crowdkit, 10),
}
"""Name -> (module, ranker, largest number of prompts for it, because some are slow)."""


def installed(name: str) -> bool:
    """Return whether the package of that peer is installed."""
    return find_spec(PEERS[name][0]) is not None
