"""The fixed recipe: learners and the engine that trains them."""
