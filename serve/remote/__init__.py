"""A video through a server that runs elsewhere: frames out by its stream, a video in here."""
