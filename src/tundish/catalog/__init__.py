"""What models are: cards, the files on this disk, bundles. No network here: see `tundish.sources`."""
