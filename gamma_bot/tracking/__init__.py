"""Knows MLflow, and only MLflow."""
