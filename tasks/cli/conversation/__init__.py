"""The conversation of `reelqueue chat`: what is typed, and what is done about it."""
