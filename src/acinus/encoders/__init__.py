"""Encoders: networks that turn a patch into features, the trained network's own, timm's, or a pathology encoder."""
