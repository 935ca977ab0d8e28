"""What Benchmarks/run is made of, beside the benchmarks that it has itself."""
