"""Countries by name and by place."""
