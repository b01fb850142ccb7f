"""Feature spaces: immutable shards of features, the index of their keys, and the rows that are read from them."""
