"""What is made of stored runs: snapshots, exports."""
