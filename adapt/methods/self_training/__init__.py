"""Self-training: an EMA teacher, class mix, masking (DACS, DAFormer, MIC)."""
