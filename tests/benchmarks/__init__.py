"""What the benchmarks measure with has to be right itself."""
