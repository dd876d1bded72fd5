//! How much memory this process may use: the machine's, or its control group's if that is less. The hash threads must
//! fit, because a kernel that runs out of memory does not say 503 (F-33).

use std::fs;
use std::path::{Path, PathBuf};

/// What the process needs besides the hashes being computed.
const BASE: u64 = 64 << 20;

/// The settings ask for more memory than there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{threads} hash threads of {} MiB each and 64 MiB for everything else do not fit into {} MiB of memory; lower HASH_THREADS or SCRYPT_LOG_N",
    hash >> 20,
    limit >> 20
)]
pub struct TooLittleMemory {
    threads: usize,
    hash: u64,
    limit: u64,
}

/// Checks that `threads` hashes of `hash` bytes each fit.
pub(crate) fn check(threads: usize, hash: u64) -> Result<(), TooLittleMemory> {
    match limit(Path::new("/")) {
        Some(limit) if threads as u64 * hash + BASE > limit => Err(TooLittleMemory { threads, hash, limit }),
        // Where nobody tells the limit, there is nothing to compare with.
        _ => Ok(()),
    }
}

/// In bytes, as told by the files below `root`.
fn limit(root: &Path) -> Option<u64> {
    let machine = fs::read_to_string(root.join("proc/meminfo")).ok().and_then(|meminfo| mem_total(&meminfo));
    let groups = group_files(root).into_iter().filter_map(|file| fs::read_to_string(file).ok()?.trim().parse().ok());
    machine.into_iter().chain(groups).min()
}

fn mem_total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kib| kib << 10)
}

/// The limits of our group and of those around it: version 2 (`max` there is no number, and no limit), then version 1.
fn group_files(root: &Path) -> Vec<PathBuf> {
    let mounted = root.join("sys/fs/cgroup");
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let ours = groups.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    let around = Path::new(ours).ancestors().map(|group| mounted.join(group).join("memory.max"));
    around.chain([mounted.join("memory/memory.limit_in_bytes")]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file system with these files.
    fn tree(name: &str, files: &[(&str, &str)]) -> PathBuf {
        let root = std::env::temp_dir().join(format!("tegata-memory-{}-{name}", std::process::id()));
        for (path, content) in files {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        root
    }

    #[test]
    fn the_smallest_limit_counts() {
        let meminfo = ("proc/meminfo", "MemTotal:        8388608 kB\nMemFree: 1 kB\n");
        let group = |content| [("proc/self/cgroup", "0::/a/b\n"), ("sys/fs/cgroup/a/b/memory.max", content), meminfo];
        let told = |name: &str, files: &[(&str, &str)]| {
            let root = tree(name, files);
            let limit = limit(&root);
            let _ = fs::remove_dir_all(root);
            limit
        };
        assert_eq!(told("machine", &[meminfo]), Some(8 << 30));
        assert_eq!(told("v2", &group("268435456\n")), Some(256 << 20));
        assert_eq!(told("v2-unlimited", &group("max\n")), Some(8 << 30));
        let around = [&group("max\n")[..], &[("sys/fs/cgroup/a/memory.max", "1048576\n")]].concat();
        assert_eq!(told("around", &around), Some(1 << 20));
        let version_1 = [meminfo, ("sys/fs/cgroup/memory/memory.limit_in_bytes", "536870912\n")];
        assert_eq!(told("v1", &version_1), Some(512 << 20));
        assert_eq!(told("nothing", &[]), None);
    }

    #[test]
    fn more_than_there_is_is_refused_with_what_to_do() {
        assert_eq!(check(1, 32 << 20), Ok(()));
        let error = check(1 << 30, 32 << 20).unwrap_err();
        assert!(error.to_string().contains("lower HASH_THREADS or SCRYPT_LOG_N"), "{error}");
    }
}
