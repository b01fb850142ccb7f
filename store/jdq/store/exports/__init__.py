"""Ways out of the store: files that need no jdq to read, Hugging Face datasets, and torch datasets."""
