"""The texts that are sent to the agent."""
