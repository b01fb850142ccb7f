"""Reports: a self-contained page about a head or a fine-tune."""
