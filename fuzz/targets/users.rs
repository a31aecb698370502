//! The user of a container, and the files of users and groups: pieces `spec`, `passwd`, `group`.
#![no_main]

use caisson_fuzz::{pieces, text};
use libfuzzer_sys::fuzz_target;
use runtime::users::resolve;

fuzz_target!(|data: &[u8]| {
    let pieces = pieces(data);
    let (spec, more) = (text(&pieces, 0), text(&pieces, 3));
    let file = |index: usize| pieces.get(index).copied().unwrap_or_default();
    let (passwd, group) = (file(1), file(2));
    let more: Vec<String> = more.lines().take(4).map(str::to_owned).collect();
    let Ok(user) = resolve(spec, &more, passwd, group) else {
        return;
    };
    assert!(user.uid <= 0x7fff_ffff && user.groups.iter().all(|gid| *gid <= 0x7fff_ffff));
    assert_eq!(user.groups.first(), Some(&user.gid));
    assert!(!user.home.is_empty() && !user.home.contains('\0'));
    let name = spec.split(':').next().unwrap_or_default();
    if user.uid == 0 && !name.is_empty() && !name.bytes().all(|byte| byte == b'0') {
        let mut lines = passwd.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
        let start = format!("{name}:");
        assert!(
            lines.any(|line| line.starts_with(start.as_bytes())),
            "{spec:?} became root"
        );
    }
});
