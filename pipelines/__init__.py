"""One pipeline a file: the file's name is the pipeline's, and so is the KFP pipeline in it."""
