"""Every recorded file of the data folder through the importer into a fresh lake: `make verify-data`."""
