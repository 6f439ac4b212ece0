"""The runs that undo what a completed run did, because what it was a sub-workflow of is undone: what such a run is given, how it begins."""
