"""Results of batches as JSON lines, tables, the gallery page and the batch index."""
