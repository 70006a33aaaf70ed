"""What others would do with the same model and frames, one file each."""
