"""Workflows as code: an async function plans the steps of its run, and plans them again from the record after a crash."""
