"""What an orchestrator is made of while it runs: the assembled engine, how runs begin, sub-workflows, measuring."""
