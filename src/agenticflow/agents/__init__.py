"""What an agent is: identity, capabilities, handlers, state."""

from agenticflow.agents.agent import Agent
from agenticflow.agents.states import AgentState, StateMachine, StateTransition
from agenticflow.agents.workers import Worker, worker

__all__ = ["Agent", "AgentState", "StateMachine", "StateTransition", "Worker", "worker"]
