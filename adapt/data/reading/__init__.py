"""From a spec to files to arrays: what lies on disk in the layouts of the public data sets."""
