//! Exact counts, gated.

mod alloc;
mod counts;
