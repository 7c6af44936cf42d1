"""KFP components, one a file: thin doors that unpack artifacts, call a step, write artifacts."""
