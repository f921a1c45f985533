"""What a model writes about a job: facts in, checked Markdown out, and every call paid from a ledger."""
