//! Supervisor of one container.
fn main() {}
