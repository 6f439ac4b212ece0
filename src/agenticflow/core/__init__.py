"""The pure floor: events, deciders, effects, values, the codec, and the ports the engine is reached through."""
