//! Load tool and benchmarks of z4.
