"""Pivot interaction transfer ("PIT", Lv et al., CVPR 2020): stages that meet on disk.

    features/         of a frozen classifier of images, and the source's class shares
    classifier/       multinomial logistic regression: from features to class shares
    image_labels/     target.json, what it says of the target's images; a picture
    last.safetensors  the segmentor, trained with those

With --image-labels FILE the first three are not there. A stage is resumed where it stopped, and
skipped where its result is there.
"""
