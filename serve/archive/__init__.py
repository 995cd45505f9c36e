"""A whole archive of frames, labelled by all cores: shards that are there are not made again."""
