//! Containers from the real shim. Root is needed, and the shim beside the test programs (`cargo build -p ctr-shim`).

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod lifecycle;
mod running;
mod sandbox;
mod unified;
