"""llama.cpp, in a child process per loaded model."""
