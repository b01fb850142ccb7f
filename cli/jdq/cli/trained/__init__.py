"""Commands about heads and fine-tuned models."""
