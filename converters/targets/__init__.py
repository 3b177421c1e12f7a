"""Export targets: the same bundle on Android, on iOS and in the browser (README.md is their specification)."""
