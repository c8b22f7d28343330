"""The message stream: server-sent events, decoded and collected into one transcript."""
