"""Approvals as data: what can be asked of people and under which terms, a request that is open, its commands and facts."""
