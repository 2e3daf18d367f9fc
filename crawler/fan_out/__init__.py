"""One run over many instances: tasks in a queue, and the sweep that finds lost ones."""
