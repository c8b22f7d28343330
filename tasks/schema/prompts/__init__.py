"""The texts that are sent to the agent, and presets for them."""
