"""Checkpoints: found, checked and read, from `.nemo` files and Hugging Face folders; tokenizer and language tags."""
