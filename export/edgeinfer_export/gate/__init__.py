"""The accuracy gate: as much in few bits as the budget allows, and proof of it."""
