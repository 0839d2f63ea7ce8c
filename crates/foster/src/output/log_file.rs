//! A file that is begun anew when it has grown.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use memchr::memrchr;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use super::LogFile;

impl LogFile {
    /// Opens it for the program itself, or for us. With `O_APPEND`, so that two who write to it do not overwrite each
    /// other. A pipe that nobody reads is an error, and no wait: who starts a program is not to hang.
    pub(crate) fn open(&self) -> io::Result<File> {
        let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
        let flags = flags.bits().cast_signed();
        let file = OpenOptions::new().create(true).append(true).custom_flags(flags).open(&self.path)?;
        fcntl_setfl(&file, fcntl_getfl(&file)? - OFlags::NONBLOCK)?;
        if self.truncate && file.metadata()?.is_file() {
            file.set_len(0)?;
        }
        Ok(file)
    }
}

/// A file that is rotated. It is we who write it.
#[derive(Debug)]
pub(crate) struct Rotating {
    path: PathBuf,
    file: File,
    size: u64,
    most: u64,
    keep: u32,
}

impl Rotating {
    pub(crate) fn new(log: &LogFile, most: u64, keep: u32) -> io::Result<Rotating> {
        let file = log.open()?;
        let metadata = file.metadata()?;
        // The program may leave its directory, and so may we. The file itself, not a link to it: `/dev/stdout` is one,
        // and would be renamed.
        let path = log.path.canonicalize().or_else(|_| std::path::absolute(&log.path))?;
        // Whoever renames `/dev/null` takes it from the whole machine.
        let most = if metadata.is_file() { most } else { u64::MAX };
        Ok(Rotating { path, file, size: metadata.len(), most, keep })
    }

    pub(crate) fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while self.size.saturating_add(bytes.len() as u64) > self.most {
            let room = usize::try_from(self.most.saturating_sub(self.size)).unwrap_or(usize::MAX);
            // After the last line that fits; a line that no file has room for is cut.
            let fits = memrchr(b'\n', &bytes[..room]).map(|at| at + 1);
            let now = match fits {
                Some(now) => now,
                None if self.size > 0 => 0,
                None => room,
            };
            self.file.write_all(&bytes[..now])?;
            self.size += now as u64;
            bytes = &bytes[now..];
            if self.begin_anew().is_err() {
                // A file that is too big is better than output that is lost. The next write tries again.
                break;
            }
        }
        self.file.write_all(bytes)?;
        self.size += bytes.len() as u64;
        Ok(())
    }

    fn begin_anew(&mut self) -> io::Result<()> {
        // Another may have been put in its place.
        if fs::symlink_metadata(&self.path).is_ok_and(|there| !there.is_file()) {
            return Err(io::Error::other("what has its name is no file any more"));
        }
        for n in (0..self.keep).rev() {
            let (from, to) = (numbered(&self.path, n), numbered(&self.path, n + 1));
            match fs::rename(from, to) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        let anew = LogFile { path: self.path.clone(), truncate: true, rotate: None };
        self.file = anew.open()?;
        self.size = 0;
        Ok(())
    }
}

fn numbered(path: &Path, n: u32) -> PathBuf {
    if n == 0 {
        return path.to_owned();
    }
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{n}"));
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let folder = std::env::temp_dir().join(format!("foster-{name}-{}", std::process::id()));
            fs::create_dir_all(&folder).unwrap();
            Folder(folder)
        }

        fn files(&self) -> Vec<(String, String)> {
            let mut files: Vec<_> = fs::read_dir(&self.0)
                .unwrap()
                .map(|entry| entry.unwrap())
                .map(|entry| {
                    let name = entry.file_name().into_string().unwrap();
                    (name, fs::read_to_string(entry.path()).unwrap())
                })
                .collect();
            files.sort();
            files
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            _ = fs::remove_dir_all(&self.0);
        }
    }

    fn files(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected.iter().map(|(name, text)| (name.to_string(), text.to_string())).collect()
    }

    #[test]
    fn it_is_begun_anew_between_lines_and_so_many_old_ones_are_kept() {
        let folder = Folder::new("rotate");
        let log = LogFile::append(folder.0.join("log")).rotate(10, 2);
        let mut rotating = Rotating::new(&log, 10, 2).unwrap();
        rotating.write(b"one\ntwo\nthree\nfour\n").unwrap();
        assert_eq!(
            folder.files(),
            files(&[("log", "four\n"), ("log.1", "three\n"), ("log.2", "one\ntwo\n")])
        );
        rotating.write(b"five\n").unwrap();
        rotating.write(b"six\n").unwrap();
        assert_eq!(
            folder.files(),
            files(&[("log", "six\n"), ("log.1", "four\nfive\n"), ("log.2", "three\n")])
        );
    }

    #[test]
    fn a_line_that_is_too_long_for_any_file_is_cut() {
        let folder = Folder::new("rotate-long");
        let log = LogFile::append(folder.0.join("log"));
        let mut rotating = Rotating::new(&log, 10, 9).unwrap();
        rotating.write(b"ab\n0123456789012345\nz\n").unwrap();
        let expected = [("log", "012345\nz\n"), ("log.1", "0123456789"), ("log.2", "ab\n")];
        assert_eq!(folder.files(), files(&expected));
    }

    #[test]
    fn what_is_no_file_is_written_to_and_keeps_its_name() {
        // It stands for `/dev/null`, which no test may risk.
        let folder = Folder::new("rotate-device");
        let path = folder.0.join("device");
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RWXU).unwrap();
        let _reader = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let mut rotating = Rotating::new(&LogFile::truncate(&path), 10, 3).unwrap();
        rotating.write(b"one\ntwo\nthree\nfour\nfive\n").unwrap();
        let names: Vec<_> =
            fs::read_dir(&folder.0).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["device"]);
        assert!(!fs::metadata(&path).unwrap().is_file());
    }

    #[test]
    fn what_takes_the_place_of_the_file_keeps_its_name() {
        let folder = Folder::new("rotate-replaced");
        let path = folder.0.join("log");
        let mut rotating = Rotating::new(&LogFile::truncate(&path), 10, 3).unwrap();
        rotating.write(b"one\n").unwrap();
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        // It goes on in the file that has no name any more.
        rotating.write(b"two\nthree\n").unwrap();
        assert!(path.is_dir());
    }

    #[test]
    fn of_a_link_it_is_the_file_that_is_begun_anew() {
        let folder = Folder::new("rotate-link");
        fs::create_dir(folder.0.join("there")).unwrap();
        let (link, file) = (folder.0.join("link"), folder.0.join("there/log"));
        std::os::unix::fs::symlink("there/log", &link).unwrap();
        let mut rotating = Rotating::new(&LogFile::truncate(&link), 10, 3).unwrap();
        rotating.write(b"one\ntwo\nthree\n").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&file).unwrap(), "three\n");
        assert_eq!(fs::read_to_string(folder.0.join("there/log.1")).unwrap(), "one\ntwo\n");
    }

    #[test]
    fn what_cannot_be_rotated_grows_until_it_can() {
        let folder = Folder::new("rotate-not");
        let (log, blocked) = (LogFile::append(folder.0.join("log")), folder.0.join("log.1"));
        let mut rotating = Rotating::new(&log, 10, 1).unwrap();
        fs::create_dir(&blocked).unwrap();
        for line in [b"one\ntwo\n", b"six\nten\n"] {
            rotating.write(line).unwrap();
        }
        fs::remove_dir(&blocked).unwrap();
        rotating.write(b"end\n").unwrap();
        assert_eq!(folder.files(), files(&[("log", "end\n"), ("log.1", "one\ntwo\nsix\nten\n")]));
    }

    #[test]
    fn what_is_there_already_counts() {
        let folder = Folder::new("rotate-append");
        let path = folder.0.join("log");
        fs::write(&path, "12345678\n").unwrap();
        let mut rotating = Rotating::new(&LogFile::append(&path), 10, 0).unwrap();
        rotating.write(b"ab\n").unwrap();
        assert_eq!(folder.files(), files(&[("log", "ab\n")]));
        let mut anew = Rotating::new(&LogFile::truncate(&path), 10, 0).unwrap();
        anew.write(b"cd\n").unwrap();
        assert_eq!(folder.files(), files(&[("log", "cd\n")]));
    }
}
