"""Where heavy work runs: ordered maps over parts, in processes of this machine (``local``) or of Ray (``ray``).

The results do not depend on the engine, on the number of workers, or on which of them finishes first.
"""

from __future__ import annotations

from curate.engine.local import LocalEngine
from curate.engine.pool import Engine, Part, PartError, map_parts
from curate.engine.settings import engine_or_none, open_engine

__all__ = ["Engine", "LocalEngine", "Part", "PartError", "engine_or_none", "map_parts", "open_engine"]
