//! The real shim, started as the engine starts it, with real namespaces, mounts and control groups. Needs root and
//! `busybox-static`; every test says why it is skipped.

#![allow(clippy::unwrap_used, reason = "a failing unwrap is a failing test")]

mod cost;
mod execs;
mod harness;
mod isolation;
mod lifecycle;
mod limits;
mod newcomers;
mod process;
mod streams;
