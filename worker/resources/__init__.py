"""Resources of this machine: threads for native work, memory for decoding, scratch folders."""
