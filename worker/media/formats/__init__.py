"""Special cases of single image formats, before and after decoding."""
