"""From an event to the handlers it concerns: router, queues, subscriptions, the feed from a store, positions, dead letters."""
