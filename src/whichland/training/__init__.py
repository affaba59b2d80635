"""Training: from a manifest and settings to a bundle."""
