//! What this machine and this process are called.

use std::time::{SystemTime, UNIX_EPOCH};

/// The name of this machine; empty if it has none.
pub fn host() -> String {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let name = read("/proc/sys/kernel/hostname").or_else(|| read("/etc/hostname"));
    let name = name.or_else(|| std::env::var("HOSTNAME").or_else(|_| std::env::var("COMPUTERNAME")).ok());
    name.unwrap_or_default().trim().into()
}

/// 64 bits in hexadecimal that no other process has, and this one at no other time.
pub fn unique() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let text = format!("{now} {} {}", std::process::id(), host());
    blake3::hash(text.as_bytes()).to_hex()[..16].to_string()
}
