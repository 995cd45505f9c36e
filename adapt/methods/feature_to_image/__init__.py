"""Learning from synthetic data (Sankaranarayanan et al., CVPR 2018): images from features."""
