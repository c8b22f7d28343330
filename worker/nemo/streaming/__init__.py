"""The message stream: server-sent events, decoded and folded into one transcript."""
