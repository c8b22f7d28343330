"""The agent: the messages that run, and the events of their streams."""
