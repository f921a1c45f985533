"""The only package that speaks to GitHub."""
