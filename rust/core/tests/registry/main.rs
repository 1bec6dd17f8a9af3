//! The registry transport against a server that lies, breaks and hangs on command, and against a real registry.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod debian;
mod documents;
mod layers;
mod proxies;
mod pulls;
mod redirects;
mod server;
mod tokens;

use std::fmt::Write as _;
use std::time::Duration;

use ctr_core::registry::{Registry, RegistryOptions};
use server::Server;

/// `sha256:…` of `content`.
fn digest_of(content: &[u8]) -> String {
    let mut text = "sha256:".to_owned();
    for byte in ring::digest::digest(&ring::digest::SHA256, content).as_ref() {
        write!(text, "{byte:02x}").unwrap();
    }
    text
}

/// Bytes that do not repeat soon.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[0]
    };
    (0..length).map(|_| next()).collect()
}

/// A patient client.
fn options() -> RegistryOptions {
    RegistryOptions { timeout: Duration::from_secs(20), ..RegistryOptions::default() }
}

/// A client that finds half a second of silence long.
fn impatient() -> RegistryOptions {
    RegistryOptions { timeout: Duration::from_millis(500), ..RegistryOptions::default() }
}

fn registry(server: &Server, options: &RegistryOptions) -> Registry {
    Registry::new(&server.url(), options).unwrap()
}
