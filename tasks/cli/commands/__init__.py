"""The commands of `reelqueue`, grouped by what people do."""
