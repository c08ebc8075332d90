"""The highest rate within the lead time: candidates, how far each was off, and the choice."""
