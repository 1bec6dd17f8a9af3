//! The user's rights.

use rustix::thread::CapabilitySet;

use super::Feature;
use super::kernel::read;

pub fn features() -> Vec<Feature> {
    let is_root = rustix::process::geteuid().is_root();
    let capabilities = rustix::thread::capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.effective);
    let holds = |wanted| capabilities.contains(wanted);
    let user = format!("user id {}", rustix::process::geteuid().as_raw());
    vec![
        Feature::required("root", is_root, user, "run as root (`sudo`); rootless containers do not exist yet"),
        Feature::required(
            "administration rights",
            holds(CapabilitySet::SYS_ADMIN),
            format!("CAP_SYS_ADMIN: {}", super::kernel::yes_no(holds(CapabilitySet::SYS_ADMIN))),
            "run outside of a container, or in a privileged one",
        ),
        Feature::optional(
            "raising resource limits",
            holds(CapabilitySet::SYS_RESOURCE),
            resource_detail(holds(CapabilitySet::SYS_RESOURCE)),
            "run with CAP_SYS_RESOURCE, or ask only for limits up to this process's hard limits (`ulimit -H -n`)",
        ),
        user_namespaces(),
    ]
}

fn resource_detail(is_held: bool) -> String {
    if is_held {
        return "CAP_SYS_RESOURCE is held: every `--ulimit` and OOM score can be set".to_owned();
    }
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
    let files = files.map_or_else(|| "unlimited".to_owned(), |limit| limit.to_string());
    format!(
        "CAP_SYS_RESOURCE is missing: limits above the hard ones (open files: {files}) are lowered when they are defaults \
         and refused when they were asked for"
    )
}

/// Not used by root; told because rootless containers will need it.
fn user_namespaces() -> Feature {
    let most = read("/proc/sys/user/max_user_namespaces");
    let is_enabled = most.trim().parse::<u64>().is_ok_and(|most| most > 0)
        && read("/proc/sys/kernel/unprivileged_userns_clone").trim() != "0";
    let is_restricted = read("/proc/sys/kernel/apparmor_restrict_unprivileged_userns").trim() == "1";
    let (detail, remedy) = match (is_enabled, is_restricted) {
        (false, _) => ("are switched off", "set `user.max_user_namespaces` and `kernel.unprivileged_userns_clone`"),
        (true, true) => (
            "AppArmor refuses them to programs without a profile",
            "set `kernel.apparmor_restrict_unprivileged_userns=0`, or install a profile for this program",
        ),
        (true, false) => ("are there", ""),
    };
    Feature::optional("user namespaces", is_enabled && !is_restricted, detail, remedy)
}
