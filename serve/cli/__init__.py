"""The commands of this stage: what a user types, checked and handed on."""
