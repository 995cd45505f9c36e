"""From a data spec to a batch: opening, checking, augmenting and drawing images."""
