//! Random trees, packed in random forms, come out as they went in; random bytes never panic.

#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

mod support;

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;

use ctr_core::layer::LayerStore;
use proptest::collection::vec;
use proptest::prelude::*;
use support::{Archive, Header, LIMITS, TestStore};

/// What a model tree has at a path.
#[derive(Clone, Debug, PartialEq)]
enum Model {
    Directory { mode: u32, mtime: i64 },
    File { mode: u32, mtime: i64, data: Vec<u8> },
    Symlink { target: String },
}

fn model() -> impl Strategy<Value = Model> {
    let mode = prop::sample::select(vec![0o644u32, 0o755, 0o600, 0o700, 0o4755, 0o1777, 0o2755, 0o444, 0o000]);
    prop_oneof![
        (mode.clone(), -2_000_000_000i64..10_000_000_000)
            .prop_map(|(mode, mtime)| Model::Directory { mode: mode | 0o700, mtime }),
        (mode, -2_000_000_000i64..10_000_000_000, vec(any::<u8>(), 0..2000))
            .prop_map(|(mode, mtime, data)| Model::File { mode, mtime, data }),
        "[a-z./]{1,80}".prop_map(|target| Model::Symlink { target }),
    ]
}

/// Entries in an order that may name children before parents and anything twice; names of few letters collide often.
fn entries() -> impl Strategy<Value = Vec<(String, Model)>> {
    let short = vec(prop::sample::select(vec!["a", "b", "c"]), 1..4).prop_map(|names| names.join("/"));
    let long = "[a-c]/[a-z]{90,200}";
    vec((prop_oneof![6 => short, 1 => long], model()), 1..25)
}

/// What the entries make of an empty tree; `None` when one goes through a file or a link.
fn expect(entries: &[(String, Model)]) -> Option<BTreeMap<String, Model>> {
    let mut tree: BTreeMap<String, Model> = BTreeMap::new();
    let implied = Model::Directory { mode: 0o755, mtime: 0 };
    for (path, model) in entries {
        for (slash, _) in path.match_indices('/') {
            match tree.entry(path[..slash].to_owned()).or_insert_with(|| implied.clone()) {
                Model::Directory { .. } => {}
                _ => return None,
            }
        }
        let is_directory = |model: Option<&Model>| matches!(model, Some(Model::Directory { .. }));
        if is_directory(tree.get(path)) && !is_directory(Some(model)) {
            let beneath = format!("{path}/");
            tree.retain(|other, _| !other.starts_with(&beneath));
        }
        tree.insert(path.clone(), model.clone());
    }
    Some(tree)
}

fn pack(entries: &[(String, Model)], with_gnu_names: bool) -> Vec<u8> {
    let mut archive = Archive::new();
    for (path, model) in entries {
        let (type_flag, mode, mtime) = match model {
            Model::Directory { mode, mtime } => (b'5', *mode, *mtime),
            Model::File { mode, mtime, .. } => (b'0', *mode, *mtime),
            Model::Symlink { .. } => (b'2', 0o777, 0),
        };
        let time = mtime.to_string();
        let mut records: Vec<(&str, &[u8])> = vec![("mtime", time.as_bytes())];
        let mut header = Header::new(b"name", type_flag).mode(mode.into());
        if path.len() <= 100 {
            header = header.bytes(0, &[path.as_bytes(), &[0; 100][path.len()..]].concat());
        } else if with_gnu_names {
            archive = archive.entry(Header::new(b"././@LongLink", b'L'), format!("{path}\0").as_bytes());
        } else {
            records.push(("path", path.as_bytes()));
        }
        archive = archive.pax(&records);
        archive = match model {
            Model::Directory { .. } => archive.header(header),
            Model::File { data, .. } => archive.entry(header, data),
            Model::Symlink { target } => archive.header(header.link(target.as_bytes())),
        };
    }
    archive.finish()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn trees_come_out_as_they_went_in(entries in entries(), with_gnu_names: bool, compression in 0..3) {
        let plain = pack(&entries, with_gnu_names);
        let stream = match compression {
            0 => plain,
            1 => zstd::encode_all(&plain[..], 1).unwrap(),
            _ => {
                let mut encoder = flate2::read::GzEncoder::new(&plain[..], flate2::Compression::fast());
                let mut stream = Vec::new();
                std::io::Read::read_to_end(&mut encoder, &mut stream).unwrap();
                stream
            }
        };
        let store = TestStore::new();
        let result = store.layers.apply_stream(None, &mut &stream[..], &LIMITS, None);
        let Some(expected) = expect(&entries) else {
            prop_assert!(result.is_err());
            return Ok(());
        };
        let files = store.files(&result.unwrap().diff_id);
        let mut found = BTreeMap::new();
        for (path, node) in support::snapshot(&files) {
            let model = match node.mode & 0o170_000 {
                0o040_000 => Model::Directory { mode: node.mode & 0o7777, mtime: node.mtime.0 },
                0o100_000 => Model::File { mode: node.mode & 0o7777, mtime: node.mtime.0, data: node.content },
                _ => Model::Symlink { target: String::from_utf8(node.content).unwrap() },
            };
            found.insert(path.into_os_string().into_string().unwrap(), model);
        }
        found.remove("");
        prop_assert_eq!(found, expected);
        prop_assert_eq!(std::fs::metadata(&files).unwrap().mode() & 0o7777, 0o755);
    }

    #[test]
    fn random_blocks_never_panic(blocks in vec((any::<[u8; 32]>(), 0usize..480), 1..8), entries in entries()) {
        let mut archive = pack(&entries, false);
        for (number, (bytes, at)) in blocks.iter().enumerate() {
            let at = (number * 1536 + at) % (archive.len() - 32);
            archive[at..at + 32].copy_from_slice(bytes);
            if number % 2 == 0 {
                // A right checksum lets the damage through to the fields.
                let start = at / 512 * 512;
                let mut header = [0u8; 512];
                header.copy_from_slice(&archive[start..start + 512]);
                archive[start..start + 512].copy_from_slice(&Header(header).sealed());
            }
        }
        let store = TestStore::new();
        let _ = store.layers.apply_stream(None, &mut &archive[..], &LIMITS, None);
        for name in ["tmp", "trash"] {
            let left = std::fs::read_dir(store.folder.path().join("store").join(name)).unwrap().count();
            prop_assert_eq!(left, 0);
        }
    }
}
