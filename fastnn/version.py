"""The version of this package, alone in its file so that a build need not import the rest."""

__version__ = "0.1.0"
