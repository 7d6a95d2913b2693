"""Random streams named by content, and the normals drawn from them."""
