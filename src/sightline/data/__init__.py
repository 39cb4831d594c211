"""The data room: sources -> images -> pixels -> splits -> batches."""
