"""Runs code somewhere. Knows nothing of GitHub, MLflow or Claude."""
