"""Searchable models from ordinary torch modules: `from autohas import nn as an`. `import autohas` alone loads no torch."""

from autohas_trainer.nn import *  # noqa: F403 - the same names, of which __all__ is the one list
from autohas_trainer.nn import __all__  # noqa: F401 - as above
