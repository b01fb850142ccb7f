"""Encoders: from texts to features, exactly as Hugging Face's encoder gives them, by the fastest way that is exact.

    from jdq.worker.encoder.loading import load_encoder     # and .identity.describe, .cache.EncoderCache
    encoder = load_encoder("facebook/bart-base")
    features = encoder.encode(encoder.tokenize(texts))

Nothing is imported here: `jdq.worker.encoder.errors` alone must be importable without torch.
"""
