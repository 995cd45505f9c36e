"""The road of label-driven reconstruction (Yang et al., ECCV 2020): stages that meet on disk.

    translate/        F, F_inv, and target_as_source/ (or source_as_target/): the images they draw
    pretrain/         M, from the source's true labels
    joint0/           G (and M) without pseudo labels
    pseudo_labels1/   what the G of joint0 is sure of
    joint1/           G (and M) with them; and so on for more rounds
    last.safetensors  G, F and M of the last finished round: the result

A stage is resumed where it stopped, and skipped where its result is there.
"""
