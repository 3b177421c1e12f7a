"""Tables in, a Dataset on disk out."""
