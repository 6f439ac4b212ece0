"""What is registered with an orchestrator."""
