"""Turns a JSON request into scores."""
