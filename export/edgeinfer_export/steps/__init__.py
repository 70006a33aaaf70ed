"""What happens to a graph on its way: one step per file."""
