"""Both hops on one machine: `twohop dev`."""
