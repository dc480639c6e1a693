"""What only a graphics card can show: `make test-card`, on a machine that has one of NVIDIA's."""
