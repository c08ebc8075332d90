"""How many instances of a model there should be, ahead of its traffic; pure."""
