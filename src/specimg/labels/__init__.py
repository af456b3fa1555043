"""What people and models assert: ontologies, segmentations, shapes, as append-only versions."""
