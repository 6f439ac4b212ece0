"""What decides in a crew, without clock and world: who comes next, how far a run may go, what of a context is carried."""
