"""The evaluation set of the write-ups: generated commits, what is planted in them, and graders that know the truth."""
