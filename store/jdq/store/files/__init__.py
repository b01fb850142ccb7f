"""How files of the store are written and checked: complete or not at all, each with its digest."""
