//! Who a process runs as: Docker's `user[:group]`, looked up in the container's own files and nowhere else.

mod database;

use ctr_spec::{FailureKind, UserSpec};

pub use database::{Accounts, read};

use crate::failure::{Outcome, refused};

/// Highest user and group number, Docker's.
const MAX_ID: u32 = i32::MAX as u32;

/// Numbers for the kernel, and the home directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// Home directory, `/` when unknown.
    pub home: String,
}

/// What one half of `user:group` says.
enum Name<'a> {
    Number(u32),
    Text(&'a str),
}

/// Only digits are a number; anything that merely looks like one (`+1`, `0x0`, ` 1`) is no name either.
fn parse<'a>(text: &'a str, whole: &str) -> Outcome<Name<'a>> {
    let bad = |detail: &str| Err(refused(FailureKind::UnknownUser, "look up the user", whole, detail));
    if text.is_empty() {
        return bad("one side of the colon is empty");
    }
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return match text.parse::<u32>() {
            Ok(number) if number <= MAX_ID => Ok(Name::Number(number)),
            _ => bad("numbers go from 0 to 2147483647"),
        };
    }
    if text.starts_with(['+', '-']) || text.chars().any(|c| c.is_whitespace() || c.is_control() || c == ':') {
        return bad("this is neither a number nor a name");
    }
    Ok(Name::Text(text))
}

/// Resolves a specification.
pub fn resolve(spec: &UserSpec, accounts: &Accounts) -> Outcome<Identity> {
    let whole = spec.name.as_str();
    let unknown = |what: &str| refused(FailureKind::UnknownUser, "look up the user", whole, what);
    let (user, group) = match whole.split_once(':') {
        Some((user, group)) => (parse(user, whole)?, Some(parse(group, whole)?)),
        None if whole.is_empty() => (Name::Number(0), None),
        None => (parse(whole, whole)?, None),
    };
    let account = match user {
        Name::Number(uid) => accounts.users.iter().find(|user| user.uid == uid),
        Name::Text(name) => {
            let found = accounts.users.iter().find(|user| user.name == name);
            Some(found.ok_or_else(|| unknown("there is no such user in the container's /etc/passwd"))?)
        }
    };
    let uid = match (user, account) {
        (Name::Number(uid), _) => uid,
        (Name::Text(_), account) => account.map_or(MAX_ID, |user| user.uid),
    };
    let mut groups = Vec::new();
    let gid = if let Some(group) = group {
        group_number(&group, accounts).ok_or_else(|| unknown("there is no such group in the container's /etc/group"))?
    } else {
        // As with Docker: membership counts only where no group was named.
        if let Some(user) = account {
            let member = |group: &&database::Group| group.members.contains(&user.name);
            groups.extend(accounts.groups.iter().filter(member).map(|group| group.gid));
        }
        account.map_or(0, |user| user.gid)
    };
    for name in &spec.additional_groups {
        let parsed = parse(name, name)?;
        let found = group_number(&parsed, accounts);
        let missing = || refused(FailureKind::UnknownUser, "look up the group", name, "there is no such group");
        groups.push(found.ok_or_else(missing)?);
    }
    // The primary group stays one of them when a program changes its primary group (CVE-2022-36109).
    groups.push(gid);
    groups.sort_unstable();
    groups.dedup();
    let home = account.map(|user| user.home.clone()).filter(|home| !home.is_empty()).unwrap_or_else(|| "/".into());
    Ok(Identity { uid, gid, groups, home })
}

fn group_number(name: &Name<'_>, accounts: &Accounts) -> Option<u32> {
    match name {
        Name::Number(gid) => Some(*gid),
        Name::Text(name) => accounts.groups.iter().find(|group| group.name == *name).map(|group| group.gid),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accounts() -> Accounts {
        Accounts::parse(
            "root:x:0:0:root:/root:/bin/sh\nbroken\napp:x:1000:1001::/home/app:/bin/sh\nbig:x:4294967295:0::/:\n",
            "root:x:0:\nwheel:x:10:root,app\nstaff:x:50:app\n",
        )
    }

    fn numbers(name: &str) -> Option<(u32, u32, Vec<u32>)> {
        let spec = UserSpec { name: name.into(), additional_groups: Vec::new() };
        resolve(&spec, &accounts()).ok().map(|identity| (identity.uid, identity.gid, identity.groups))
    }

    #[test]
    fn names_and_numbers() {
        assert_eq!(numbers(""), Some((0, 0, vec![0, 10])));
        assert_eq!(numbers("app"), Some((1000, 1001, vec![10, 50, 1001])));
        assert_eq!(numbers("1000"), Some((1000, 1001, vec![10, 50, 1001])));
        assert_eq!(numbers("app:staff"), Some((1000, 50, vec![50])));
        assert_eq!(numbers("7:8"), Some((7, 8, vec![8])));
        assert_eq!(numbers("7"), Some((7, 0, vec![0])));
        assert_eq!(numbers("2147483647"), Some((2_147_483_647, 0, vec![0])));
    }

    #[test]
    fn what_is_malformed_is_never_root() {
        for name in [
            "0x0",
            "+1",
            "1:",
            ":1",
            ":",
            " 1",
            "1 ",
            "1 1",
            "4294967295",
            "-1",
            "4294967296",
            "2147483648",
            "4294967296:0",
            "0:4294967295",
            "nobody",
            "app:nogroup",
            "big",
            "\u{661}",
            "1:2:3",
            "\t0",
            "0\n",
        ] {
            assert_eq!(numbers(name), None, "{name:?}");
        }
    }

    #[test]
    fn further_groups() {
        let spec = UserSpec { name: "app:app".into(), additional_groups: vec!["wheel".into(), "77".into()] };
        assert_eq!(resolve(&spec, &accounts()).unwrap_err().kind, FailureKind::UnknownUser);
        let spec = UserSpec { name: "0:0".into(), additional_groups: vec!["wheel".into(), "77".into()] };
        assert_eq!(resolve(&spec, &accounts()).unwrap().groups, [0, 10, 77]);
        assert_eq!(resolve(&spec, &accounts()).unwrap().home, "/root");
    }
}
