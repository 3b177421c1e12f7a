"""Keras recommender -> TFLite -> quantized -> verified, self-describing bundle."""
