"""The video API and nothing else: client, transport, event stream, draft, errors."""
