"""One object from the first look to the commit."""
