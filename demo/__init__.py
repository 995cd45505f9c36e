"""The browser demo on a bundle, and the quickstart."""
