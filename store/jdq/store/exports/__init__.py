"""Exports: files that other programs read without jdq, Hugging Face datasets, and torch datasets."""
