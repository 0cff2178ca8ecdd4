"""The check that the packages of this installation are not hidden by folders of the same names."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

LIBRARY = ("schemas", "annotations", "pipelines")
"""The packages that are installed next to ``curate`` and imported with it."""


class ShadowedPackageError(ImportError):
    """A package of this installation would be imported from another place."""


def check_installation(packages: Sequence[str] = LIBRARY) -> None:
    """Raise ShadowedPackageError if Python finds one of the packages outside this installation.

    The packages have common names: a folder ``schemas`` in the working directory hides ours. No package is imported.
    """
    home = Path(__file__).parent.parent
    for name in packages:
        try:
            spec = find_spec(name)
        except ValueError:  # a module without a spec, put into sys.modules by hand
            spec = None
        origin = Path(spec.origin) if spec and spec.origin else None
        if origin is None:
            raise ShadowedPackageError(
                f"the package {name!r} of mr2-curate is missing: pip install --force-reinstall mr2-curate"
            )
        if origin.parent.parent != home and origin.resolve().parent.parent != home.resolve():
            found = origin.parent if origin.name == "__init__.py" else origin
            raise ShadowedPackageError(
                f"{found} hides the package {name!r} of mr2-curate ({home / name}): rename it, or run Python in "
                "another folder"
            )
