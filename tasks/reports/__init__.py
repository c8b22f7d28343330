"""Results as people and programs take them: JSON lines, CSV, gallery, batch index."""
