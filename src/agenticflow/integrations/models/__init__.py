"""Models by the wire format they speak."""
