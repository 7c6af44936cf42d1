"""One file a step; the only room that composes the others."""
