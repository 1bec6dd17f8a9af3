//! Proxies come from the environment, which is given to a second process running one test of this file.

use std::process::Command;

use ctr_core::ErrorKind;
use ctr_core::registry::Registry;

use crate::server::{Reply, Server};
use crate::{impatient, options, registry};

/// Runs one ignored test of this program with a proxy in its environment.
fn run_with_proxy(test: &str, proxy: &str) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "--ignored", test]);
    for name in
        ["ALL_PROXY", "all_proxy", "HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "NO_PROXY", "no_proxy"]
    {
        command.env_remove(name);
    }
    let output = command.env("HTTP_PROXY", proxy).env("HTTPS_PROXY", proxy).output().unwrap();
    let report = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && report.contains("1 passed"), "{report}");
}

#[test]
fn loopback_goes_direct_and_others_through_the_proxy() {
    let proxy = Server::start(|_, _| Reply::new(403, ""));
    run_with_proxy("proxies::reaches_loopback", &proxy.url());
    assert!(proxy.seen().is_empty());
    run_with_proxy("proxies::fails_at_the_proxy", &proxy.url());
    let seen = proxy.seen();
    assert_eq!((seen[0].method.as_str(), seen[0].target.as_str()), ("CONNECT", "registry.invalid:443"));
}

#[test]
#[ignore = "run by another test with a proxy in its environment"]
fn reaches_loopback() {
    let server = Server::start(|_, _| Reply::ok("{}"));
    registry(&server, &options()).ping().unwrap();
}

#[test]
#[ignore = "run by another test with a proxy in its environment"]
fn fails_at_the_proxy() {
    let error = Registry::new("https://registry.invalid", &impatient()).unwrap().ping().unwrap_err();
    assert_eq!(error.kind, ErrorKind::RegistryUnreachable, "{error}");
    assert!(error.message.contains("proxy"), "{error}");
}
