"""The stages of a run, one file each: from the tables to measured bundles."""
