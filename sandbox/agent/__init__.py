"""The agent: running messages and what their streams say."""
