"""The Rust tests on a pure control group v2 kernel: Debian's, in an emulated machine."""
