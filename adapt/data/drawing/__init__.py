"""From sets of images to batches: cropped, restyled, recoloured, drawn by number."""
