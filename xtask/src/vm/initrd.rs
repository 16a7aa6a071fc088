//! The guest's first and only file system: a cpio archive in the format `newc`
//! (Documentation/driver-api/early-userspace/buffer-format.rst), not compressed, as an emulated CPU
//! would take longer to decompress it than the host saves by a smaller file.

use super::modules::Module;

/// What runs in the guest, as process 1.
const INIT: &str = include_str!("init.sh");
const DIRECTORY: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const CHARACTER_DEVICE: u32 = 0o020_600;
const DIRECTORIES: &[&str] =
    &["bin", "dev", "etc", "modules", "proc", "run", "sys", "tmp", "var", "vm", "root"];

/// What a guest is made of.
#[derive(Debug)]
pub(super) struct Contents<'c> {
    /// A static busybox.
    pub(super) busybox: &'c [u8],
    /// In the order in which they are loaded.
    pub(super) modules: &'c [Module],
    /// Programs by name, run in this order.
    pub(super) programs: &'c [(String, Vec<u8>)],
    /// What these are linked with, by absolute path.
    pub(super) libraries: &'c [(String, Vec<u8>)],
    /// What each program gets on its command line.
    pub(super) arguments: &'c [String],
    /// The driver of the two interfaces; `None` when the programs make their own.
    pub(super) driver: Option<&'c str>,
    /// Set for each program.
    pub(super) environment: &'c [(&'c str, String)],
    /// The script that records the machine; empty when that is not wanted.
    pub(super) record: &'c str,
}

/// Makes the archive.
pub(super) fn build(contents: &Contents) -> Vec<u8> {
    let mut archive = Archive::default();
    for name in DIRECTORIES {
        archive.entry(name, DIRECTORY, &[]);
    }
    archive.console();
    archive.entry("init", PROGRAM, INIT.as_bytes());
    archive.entry("bin/busybox", PROGRAM, contents.busybox);
    let mut order = String::new();
    for module in contents.modules {
        archive.entry(&format!("modules/{}.ko", module.name), PROGRAM, &module.bytes);
        order += &format!("{}\n", module.name);
    }
    archive.entry("vm/modules", PROGRAM, order.as_bytes());
    let mut programs = String::new();
    for (name, bytes) in contents.programs {
        archive.entry(&format!("vm/{name}.program"), PROGRAM, bytes);
        programs += &format!("{name}\n");
    }
    archive.entry("vm/programs", PROGRAM, programs.as_bytes());
    for (path, bytes) in contents.libraries {
        archive.file(path.trim_start_matches('/'), bytes);
    }
    if !contents.record.is_empty() {
        archive.entry("vm/record", PROGRAM, contents.record.as_bytes());
    }
    let mut settings = format!("driver={}\n", quoted(contents.driver.unwrap_or_default()));
    for (name, value) in contents.environment {
        settings += &format!("export {name}={}\n", quoted(value));
    }
    let arguments: Vec<_> = contents.arguments.iter().map(|argument| quoted(argument)).collect();
    settings += &format!("set -- {}\n", arguments.join(" "));
    archive.entry("vm/settings", PROGRAM, settings.as_bytes());
    archive.finish()
}

/// A word for the shell.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// A cpio archive that grows.
#[derive(Debug, Default)]
struct Archive {
    bytes: Vec<u8>,
    /// Of the last entry; each has its own.
    inode: u32,
}

impl Archive {
    fn entry(&mut self, name: &str, mode: u32, content: &[u8]) {
        self.raw(name, mode, content, (0, 0));
    }

    /// A program, and the folders that it is in; a folder may be there twice.
    fn file(&mut self, path: &str, content: &[u8]) {
        for (at, _) in path.match_indices('/') {
            self.entry(&path[..at], DIRECTORY, &[]);
        }
        self.entry(path, PROGRAM, content);
    }

    /// `/dev/console`: process 1 gets it as its standard streams before anything is mounted.
    fn console(&mut self) {
        self.raw("dev/console", CHARACTER_DEVICE, &[], (5, 1));
    }

    fn raw(&mut self, name: &str, mode: u32, content: &[u8], (major, minor): (u32, u32)) {
        self.inode += 1;
        let length = |bytes: usize| u32::try_from(bytes).expect("a file of a guest is small");
        let links = if mode == DIRECTORY { 2 } else { 1 };
        let (size, name_size) = (length(content.len()), length(name.len() + 1));
        // inode, mode, uid, gid, links, mtime, size, device, device of a node, name size, checksum
        let fields = [self.inode, mode, 0, 0, links, 0, size, 0, 0, major, minor, name_size, 0];
        self.bytes.extend(b"070701");
        for field in fields {
            self.bytes.extend(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend(name.as_bytes());
        self.bytes.push(0);
        self.pad(4);
        self.bytes.extend(content);
        self.pad(4);
    }

    fn finish(mut self) -> Vec<u8> {
        self.raw("TRAILER!!!", 0, &[], (0, 0));
        self.pad(512);
        self.bytes
    }

    fn pad(&mut self, alignment: usize) {
        self.bytes.resize(self.bytes.len().next_multiple_of(alignment), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Entry = (String, u32, Vec<u8>, (u32, u32));

    /// Name, mode, content and device numbers of each entry, read by the rules of the format.
    fn entries(mut bytes: &[u8]) -> Vec<Entry> {
        let mut entries = Vec::new();
        loop {
            let field = |at: usize| {
                let text = std::str::from_utf8(&bytes[6 + 8 * at..14 + 8 * at]).unwrap();
                u32::from_str_radix(text, 16).unwrap()
            };
            assert_eq!(&bytes[..6], b"070701");
            let (size, name_size) = (field(6) as usize, field(11) as usize);
            let name = std::str::from_utf8(&bytes[110..110 + name_size - 1]).unwrap().to_owned();
            assert_eq!(bytes[110 + name_size - 1], 0);
            let start = (110 + name_size).next_multiple_of(4);
            if name == "TRAILER!!!" {
                assert!(bytes[start..].iter().all(|&byte| byte == 0));
                return entries;
            }
            let content = bytes[start..start + size].to_vec();
            entries.push((name, field(1), content, (field(9), field(10))));
            bytes = &bytes[(start + size).next_multiple_of(4)..];
        }
    }

    #[test]
    fn entries_of_any_length_are_read_back() {
        let mut archive = Archive::default();
        let long = "n".repeat(200);
        let contents: Vec<Vec<u8>> = (0..9).map(|len| vec![0xa5; len]).collect();
        for (content, len) in contents.iter().zip(1..) {
            archive.entry(&long[..len], PROGRAM, content);
        }
        archive.console();
        archive.entry(&long, DIRECTORY, &[]);
        let bytes = archive.finish();
        assert_eq!(bytes.len() % 512, 0);
        let read = entries(&bytes);
        assert_eq!(read.len(), 11);
        for ((name, mode, content, _), len) in read[..9].iter().zip(1..) {
            assert_eq!(
                (name.as_str(), *mode, content),
                (&long[..len], PROGRAM, &contents[len - 1])
            );
        }
        assert_eq!(read[9], ("dev/console".into(), CHARACTER_DEVICE, vec![], (5, 1)));
        assert_eq!(read[10], (long, DIRECTORY, vec![], (0, 0)));
    }

    #[test]
    fn a_guest_has_all_its_parts_below_folders_that_exist() {
        let modules = [Module { name: "veth".into(), bytes: b"m".to_vec() }];
        let programs = [("smoke".to_owned(), b"p".to_vec())];
        let contents = Contents {
            busybox: b"b",
            modules: &modules,
            programs: &programs,
            libraries: &[("/lib/a/libc.so".to_owned(), b"c".to_vec())],
            arguments: &["--exact".into(), "it's".into()],
            driver: Some("igb"),
            environment: &[("MODES", "native;reboot".into())],
            record: "",
        };
        let read = entries(&build(&contents));
        let content = |wanted: &str| {
            let entry = read.iter().find(|(name, ..)| name == wanted).unwrap();
            String::from_utf8(entry.2.clone()).unwrap()
        };
        assert_eq!(content("modules/veth.ko"), "m");
        assert_eq!(content("vm/modules"), "veth\n");
        assert_eq!(content("vm/programs"), "smoke\n");
        assert_eq!(content("vm/smoke.program"), "p");
        assert_eq!(content("lib/a/libc.so"), "c");
        let settings = "driver='igb'\nexport MODES='native;reboot'\nset -- '--exact' 'it'\\''s'\n";
        assert_eq!(content("vm/settings"), settings);
        assert!(content("init").starts_with("#!/bin/busybox sh\n"));
        assert!(read.iter().all(|(name, ..)| name != "vm/record"));
        let recorded = entries(&build(&Contents { record: "r", ..contents }));
        assert!(
            recorded.iter().any(|(name, _, content, _)| name == "vm/record" && content == b"r")
        );
        for (at, (name, ..)) in read.iter().enumerate() {
            let Some((folder, _)) = name.rsplit_once('/') else { continue };
            assert!(read[..at].iter().any(|(earlier, ..)| earlier == folder), "{name}");
        }
    }
}
