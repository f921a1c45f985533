"""Pages and endpoints for people and for probes."""
