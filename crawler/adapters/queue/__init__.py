"""Where tasks wait: a module for each kind of queue, Cloud Tasks the one there is."""
