"""Stored deliveries become intents: one module per family of GitHub events."""
