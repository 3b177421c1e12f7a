"""Steps on the flatbuffer of a converted model, through the object API of its schema: what the converter cannot do."""
