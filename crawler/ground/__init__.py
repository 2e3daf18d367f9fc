"""The ground floor: values and errors; the standard library and msgspec only."""
