"""The webhook endpoint: verify, store, answer. Nothing else happens here."""
