"""Conversations that survive: what was said in a session, as events, and the window of it that a model sees."""

from agenticflow.agents.session.session import AgentSession, SessionInfo, Summarizer

__all__ = ["AgentSession", "SessionInfo", "Summarizer"]
