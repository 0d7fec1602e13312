"""Training: configuration, step, sharding, checkpoints, the loop, and the export to a model folder."""
