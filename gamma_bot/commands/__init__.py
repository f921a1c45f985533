"""``/gamma …`` in a pull request's comments: what can be said, who may say it, and what is answered."""
