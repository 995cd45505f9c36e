"""Pixel-level intra-domain adaptation ("PixIntraDA", MM 2021): stages that meet on disk.

    inter/            G_inter, from one city to the other; not there where --inter names a run
    separation0/      what G_inter finds easy, with labels, and hard, with how unsure it is
    intra0/           G, on the target alone: labels on what is easy, an adversary on what is hard
    separation1/      the same of the G of intra0; and so on for more rounds (T = 1)
    intra1/
    last.safetensors  G of the last finished round: the result

A stage is resumed where it stopped, and skipped where its result is there.
"""
