"""The ``edgerec`` command."""
