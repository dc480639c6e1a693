"""The bill before it comes: traffic, a simulated fleet of workers, and the arithmetic of the price tables."""
