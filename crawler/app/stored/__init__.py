"""What is done with stored runs, and what is made of them: snapshots, exports."""
