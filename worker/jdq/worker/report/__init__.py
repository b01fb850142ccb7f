"""Reports: one self-contained page about a head or a fine-tune, made to be looked at."""
