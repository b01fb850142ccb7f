"""jdq: classify texts with BART. `from jdq import Client` is the Python API.

The three source folders are one package, even if they are not installed into one folder.
"""

from pkgutil import extend_path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jdq.client import Client as Client

__path__ = extend_path(__path__, __name__)
if __spec__ is not None:
    __spec__.has_location = False  # as of a namespace package, of which import-linter checks each part by itself
__all__ = ["Client"]


def __getattr__(name: str) -> object:
    """Imported on first use: `import jdq.store` must not load the client."""
    if name == "Client":
        from jdq.client import Client

        return Client
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
