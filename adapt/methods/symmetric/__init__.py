"""Symmetric adaptation consistency: stages that meet on disk.

    translate/        one generator for both directions, and source_as_target/: the images S'
    adapt0/           A and B with symmetric adversaries, on S' and the target
    pseudo_labels1/   what both are sure of and agree on
    adapt1/           A and B with these labels; and so on for more rounds
    last.safetensors  A and B of the last finished round, whose mean is deployed (or one of them)

A stage is resumed where it stopped, and skipped where its result is there.
"""
