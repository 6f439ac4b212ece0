"""Performing activities in this process: who performs, within which limits, and where the code of a handler runs."""
