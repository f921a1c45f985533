"""A local stand-in for GitHub with real Git repositories: for the demo and the tests."""
