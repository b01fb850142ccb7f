"""Encoders: from texts to features, exactly as Hugging Face's encoder gives them, by the fastest exact path.

    from jdq.worker.encoder.loading import load_encoder     # and .identity.describe, .cache.EncoderCache
    encoder = load_encoder("facebook/bart-base")
    features = encoder.encode(encoder.tokenize(texts))

Nothing is imported here, because `jdq.worker.encoder.errors` must be importable without torch.
"""
