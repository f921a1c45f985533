"""Gamma: training by ``git push``, told in the Checks tab and the pull request."""

__version__ = "0.1.0"
