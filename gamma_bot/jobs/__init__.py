"""The heart: what a job is, how it runs to its end, and what GitHub should show of it."""
