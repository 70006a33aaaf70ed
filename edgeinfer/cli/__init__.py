"""The command line: thin functions that compose everything else."""
