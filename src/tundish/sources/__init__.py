"""Where model files come from: the Hugging Face Hub, plain HTTP, folders. Everything that opens a connection for
them."""
