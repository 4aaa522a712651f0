"""Starting a run on several processes or machines; see docs/launching.md."""
