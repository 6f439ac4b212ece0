"""The composition root: the façades users hold, and the one place that names integrations."""
