"""Commands about jobs: how they stand, what they print, what came out."""
