"""The AWS stand-in: a process on this machine that answers as AWS does, and runs training jobs for real."""
