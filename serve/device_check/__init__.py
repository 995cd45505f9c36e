"""Whether a bundle comes out right on this device, and how fast: `roadshift verify`."""
