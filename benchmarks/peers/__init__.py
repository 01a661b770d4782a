"""What benchmarks/peers.py is put together from, and the scripts that run inside the environments."""
