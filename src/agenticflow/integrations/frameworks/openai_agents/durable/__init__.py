"""What stands between an agent of the SDK and the world in a durable run: models, tools, handoffs and sessions lead through the journal."""
