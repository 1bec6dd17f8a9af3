//! The program of the built-in image `hello-world`.
fn main() {}
