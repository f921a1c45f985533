"""Facts in, Markdown out: pure functions and templates."""
