"""Independent packages that rank by the same votes, each given what it can read. They come with the extra `bench`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from curate.votes.arrays import LEFT, RIGHT, VoteArrays

Float = npt.NDArray[np.float64]


def by_choix(votes: VoteArrays) -> Float:
    """choix.ilsr_pairwise, prompt by prompt: Bradley-Terry. One tuple a half vote, ties one to each side."""
    import choix

    def scores(wins: Float) -> Float:
        i, j = np.nonzero(wins)
        count = np.round(2 * wins[i, j]).astype(int)
        pairs = zip(np.repeat(i, count).tolist(), np.repeat(j, count).tolist(), strict=True)
        return choix.ilsr_pairwise(len(wins), list(pairs), alpha=0.05)

    return _by_graph(votes, scores)


def by_igraph(votes: VoteArrays) -> Float:
    """An exact minimum feedback arc set by igraph's integer program, prompt by prompt, on the majorities' margins.

    Its order is one topological order of what is left; pairs without a majority are free in it.
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
    """One of evalica's methods, prompt by prompt; ties are half a win, and a method's own where it models them.

    Its scores are positive and of any size (nothing holds a winner of all votes back), so that the places are taken; a
    prompt whose scores are not all numbers is all equal.
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
    """crowd-kit's NoisyBradleyTerry, all prompts at once: it knows who voted. It knows no ties; they are left out."""
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
    """(R,) the scores that each prompt's wins (N, N) get."""
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
"""name -> (module, scores (R,) of votes, how many prompts it gets at most, since some are slow)."""


def installed(name: str) -> bool:
    """Whether the package of that peer is there."""
    return find_spec(PEERS[name][0]) is not None
