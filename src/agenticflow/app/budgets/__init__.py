"""The budgets of an orchestrator: what may be spent on calls, and what was."""
