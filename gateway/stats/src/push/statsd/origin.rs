//! Which container this process runs in, as Datadog's agent wants to be told.
//!
//! With the first version of Linux's control groups the identity stands in their paths; with the
//! second it may have to be guessed from what is mounted, or the group is named by its inode.

use std::{fs, os::unix::fs::MetadataExt, path::Path};

/// The inode of the first control group namespace: who sees it is not in a container.
const HOST_NAMESPACE_INODE: u64 = 0xEFFF_FFFB;

/// The value for [`DogStatsdConfig::container_id`](super::DogStatsdConfig::container_id): `ci-` and
/// the container's identity, or `in-` and the inode of its control group. `None` outside of any.
///
/// Reads three small files under `/proc`; ask once.
pub fn container_id() -> Option<String> {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let groups = read("/proc/self/cgroup");
    let found = identity_in_groups(&groups)
        .or_else(|| identity_in_mounts(&read("/proc/self/mountinfo")).map(str::to_owned));
    found.map(|identity| format!("ci-{identity}")).or_else(|| inode(&groups))
}

fn inode(groups: &str) -> Option<String> {
    let namespace = fs::metadata("/proc/self/ns/cgroup").ok()?.ino();
    if namespace == HOST_NAMESPACE_INODE {
        return None;
    }
    let path = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    let group = Path::new("/sys/fs/cgroup").join(path.trim_start_matches('/'));
    let inode = fs::metadata(group).ok()?.ino();
    // The root of the tree has 1, and is no container's.
    (inode > 2).then(|| format!("in-{inode}"))
}

fn identity_in_groups(groups: &str) -> Option<String> {
    groups
        .lines()
        .find_map(|line| {
            let last = line.rsplit('/').next()?;
            let last = last.strip_suffix(".scope").unwrap_or(last);
            [last, last.rsplit('-').next()?].into_iter().find(|name| is_identity(name))
        })
        .map(str::to_owned)
}

/// A runtime mounts `hostname` and the like from a folder named after the container.
fn identity_in_mounts(mounts: &str) -> Option<&str> {
    mounts.lines().find_map(|line| {
        let source = line.split(' ').nth(3)?;
        let is_runtimes = source.ends_with("/hostname") || source.ends_with("/resolv.conf");
        let is_sandbox = source.contains("/sandboxes/");
        (is_runtimes && !is_sandbox).then(|| source.split('/').find(|part| is_identity(part)))?
    })
}

/// 64 hexadecimal digits; or a task of ECS, 32 of them, a hyphen and a number.
fn is_identity(name: &str) -> bool {
    let hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let task = name.split_once('-').is_some_and(|(id, number)| {
        id.len() == 32
            && hex(id)
            && !number.is_empty()
            && number.bytes().all(|b| b.is_ascii_digit())
    });
    task || (name.len() == 64 && hex(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "3f1c2a9b8d7e6f504132435465768798a9bacbdcedfe0f102132435465768798";

    #[test]
    fn the_identity_is_found_in_paths() {
        for groups in [
            format!("12:memory:/docker/{ID}"),
            format!("0::/system.slice/docker-{ID}.scope"),
            format!("1:cpu:/kubepods.slice/kubepods-pod1.slice/cri-containerd-{ID}.scope\n0::/"),
        ] {
            assert_eq!(identity_in_groups(&groups).as_deref(), Some(ID), "{groups}");
        }
        let task = "8a1b2c3d4e5f60718293a4b5c6d7e8f9-1234567";
        assert_eq!(identity_in_groups(&format!("9:cpu:/ecs/x/{task}")).as_deref(), Some(task));
        for none in ["", "0::/", "0::/user.slice/user-1000.slice/session-2.scope", "garbage"] {
            assert_eq!(identity_in_groups(none), None);
        }
    }

    #[test]
    fn the_identity_is_found_in_mounts() {
        let mounts = format!(
            "1 2 0:1 / / rw - overlay overlay rw\n\
             3 2 8:1 /lib/docker/containers/{ID}/hostname /etc/hostname rw - ext4 /dev/sda rw"
        );
        assert_eq!(identity_in_mounts(&mounts), Some(ID));
        let sandbox = mounts.replace("/containers/", "/sandboxes/");
        assert_eq!(identity_in_mounts(&sandbox), None);
    }
}
