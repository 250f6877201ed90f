"""Keras functional models: uint8 picture in, unit embedding out, normalisation inside."""
