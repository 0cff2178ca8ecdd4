"""The feedback arc set as an integer program for HiGHS, through cvxpy: the general path, and a check on the search.

The linear ordering problem as it is usually written (Grötschel, Jünger and Reinelt, 1984): x_ij = 1 where i stands
before j, one variable a pair, and of every three responses no circle. The search knows more of its problem and is some
hundred times as fast; it shares no line with this.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from curate.rankers.base import Float

if TYPE_CHECKING:
    from scipy import sparse

Index = npt.NDArray[np.int64]


def order_by_program(net: Float) -> tuple[Index, float]:
    """(N,) an order of least cost, best first, and its cost by HiGHS's own word.

    net: (N, N) antisymmetric, above 0 where i is preferred.
    """
    import cvxpy as cp

    n = len(net)
    i, j = np.triu_indices(n, 1)
    if not len(i):
        return np.arange(n), 0.0
    before = cp.Variable(len(i), boolean=True)
    # A pair pays net[j, i] where i stands before j against the votes, net[i, j] where it does not.
    cost = np.maximum(net[j, i], 0) - np.maximum(net[i, j], 0)
    turns = _turns(n)
    limits = [turns @ before <= 1, turns @ before >= 0] if turns.shape[0] else []
    problem = cp.Problem(cp.Minimize(cost @ before + np.maximum(net[i, j], 0).sum()), limits)
    problem.solve(solver=cp.HIGHS, mip_rel_gap=0, mip_abs_gap=0)  # type: ignore[no-untyped-call]
    assert before.value is not None
    ahead = np.zeros((n, n))
    ahead[i, j] = np.round(before.value)
    ahead[j, i] = 1 - ahead[i, j]
    return np.argsort(-ahead.sum(axis=1), kind="stable"), float(problem.value)


def _turns(n: int) -> sparse.csr_array:
    """(triples, pairs) x_ij + x_jk − x_ik of every three: 0 or 1 but for a circle."""
    from scipy import sparse

    i, j = np.triu_indices(n, 1)
    number = np.zeros((n, n), dtype=np.int64)
    number[i, j] = np.arange(len(i))
    a, b, c = (index.ravel() for index in np.meshgrid(*[np.arange(n)] * 3, indexing="ij"))
    a, b, c = (index[(a < b) & (b < c)] for index in (a, b, c))
    columns = np.stack([number[a, b], number[b, c], number[a, c]], axis=1)
    at = np.repeat(np.arange(len(columns)), 3)
    return sparse.csr_array((np.tile([1.0, 1.0, -1.0], len(columns)), (at, columns.ravel())), (len(columns), len(i)))
