"""Frames in, answers out, over one WebSocket: the newest frame wins."""
