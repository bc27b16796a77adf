//! Register files: those that Trapline comes with, those that lie in the folders that are
//! searched, and those that a person names.
//!
//! Who is asked first: what was named on the command line, the last one first; the person's own
//! folder; the system's; what Trapline comes with. Of each device the first file that describes it
//! names the registers.
//!
//! A file in a searched folder was not asked for, so one that can't be used is told of and left
//! out; one that was named ends the command.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Once;

use trapline_registers::{RegisterError, RegisterFile, Registers, Wrong};
use trapline_trace::FileFormat;

use crate::say::say;
use crate::style::WARNING;

/// The system's folder.
const SYSTEM: &str = "/usr/share/trapline/registers";
/// A person's, in their folder for configuration.
const PERSONAL: &str = "trapline/registers";

/// Why a register file can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RegistersError {
    /// It can't be read.
    #[error("can't read {}: {source}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is something else.
    #[error("{} is {what}; expected a register file, in TOML; `trapline registers import` makes one of CMSIS-SVD, C headers and rnndb's XML", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What.
        what: String,
    },
    /// It is no register file, or is for no device.
    #[error(transparent)]
    Unusable(#[from] RegisterError),
    /// Something in it makes no sense.
    #[error(transparent)]
    Senseless(#[from] Senseless),
    /// A folder without register files.
    #[error("the folder {} holds no register file: expected files that end in .toml", path.display())]
    NoFiles {
        /// The folder.
        path: PathBuf,
    },
}

/// Something in a register file that makes no sense.
#[derive(Clone, Debug, thiserror::Error)]
#[error(
    "register file {}: {}{}; all else was used",
    path.display(),
    wrong.first().map(ToString::to_string).unwrap_or_default(),
    more(wrong.len().saturating_sub(1))
)]
pub(crate) struct Senseless {
    /// The file.
    pub path: PathBuf,
    /// What.
    pub wrong: Vec<Wrong>,
}

fn more(others: usize) -> String {
    match others {
        0 => String::new(),
        _ => format!("; and {others} more"),
    }
}

/// A register file, and where it was found.
#[derive(Debug)]
pub(crate) struct Found {
    /// Where.
    pub path: PathBuf,
    /// The file.
    pub file: RegisterFile,
}

/// What names registers.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// All files.
    pub registers: Registers,
    /// What makes no sense in one that was named.
    pub wrong: Option<Senseless>,
}

impl Loaded {
    /// The files, if nothing in them is wrong.
    pub(crate) fn whole(self) -> Result<Registers, RegistersError> {
        self.wrong.map_or(Ok(self.registers), |wrong| Err(wrong.into()))
    }
}

/// The folders that are searched, the most important first.
#[derive(Clone, Debug)]
pub(crate) struct Folders(pub Vec<PathBuf>);

impl Folders {
    /// Those of this person and this system.
    pub(crate) fn here() -> Self {
        let home = env::var_os("HOME").map(PathBuf::from);
        let config = env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        let mut all: Vec<PathBuf> = config.or_else(|| Some(home?.join(".config"))).into_iter().collect();
        // Of whoever became root to trace: the files are theirs.
        if let Some(user) = env::var("SUDO_USER").ok().filter(|_| rustix::process::geteuid().is_root()) {
            let passwords = fs::read_to_string("/etc/passwd").unwrap_or_default();
            all.extend(home_of(&user, &passwords).map(|home| home.join(".config")));
        }
        let mut all: Vec<PathBuf> = all.into_iter().map(|config| config.join(PERSONAL)).collect();
        all.push(SYSTEM.into());
        all.dedup();
        Self(all)
    }

    /// What is in them that can be used, and what is not, with the reason.
    pub(crate) fn files(&self) -> Vec<Result<Found, RegistersError>> {
        let files = self.0.iter().flat_map(|folder| match toml_files(folder) {
            Ok(files) => files.into_iter().map(Ok).collect(),
            Err(source) if source.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(source) => vec![Err(RegistersError::Read { path: folder.clone(), source })],
        });
        files.map(|path| read(&path?)).collect()
    }
}

/// Where a user lives (passwd(5)).
fn home_of(user: &str, passwords: &str) -> Option<PathBuf> {
    let mut fields = passwords.lines().map(|line| line.split(':'));
    let home = fields.find_map(|mut fields| (fields.next() == Some(user)).then(|| fields.nth(4)))??;
    Some(home).filter(|home| !home.is_empty()).map(PathBuf::from)
}

/// All that names registers, with the files and folders that were named.
pub(crate) fn load_registers(named: &[PathBuf]) -> Result<Loaded, RegistersError> {
    load(&Folders::here(), named)
}

fn load(folders: &Folders, named: &[PathBuf]) -> Result<Loaded, RegistersError> {
    let mut loaded = Loaded { registers: Registers::shipped(), wrong: None };
    let mut unusable = Vec::new();
    for found in folders.files().into_iter().rev() {
        let usable = found.and_then(|Found { path, mut file }| match std::mem::take(&mut file.wrong) {
            wrong if wrong.is_empty() => Ok(file),
            wrong => {
                loaded.registers.add(file);
                Err(Senseless { path, wrong }.into())
            }
        });
        match usable {
            Ok(file) => loaded.registers.add(file),
            Err(error) => unusable.push(error),
        }
    }
    // A command may load them twice, and tells of them once.
    static TOLD: Once = Once::new();
    TOLD.call_once(|| unusable.iter().for_each(|error| say!("{WARNING}warning{WARNING:#}: {error}")));
    for path in named {
        for Found { path, file } in given(path)?.into_iter().rev() {
            if !file.wrong.is_empty() {
                let wrong = file.wrong.clone();
                loaded.wrong.get_or_insert(Senseless { path, wrong });
            }
            loaded.registers.add(file);
        }
    }
    Ok(loaded)
}

/// The register files that a person names: one, or all of a folder.
pub(crate) fn given(path: &Path) -> Result<Vec<Found>, RegistersError> {
    let unread = |source| RegistersError::Read { path: path.into(), source };
    if !fs::metadata(path).map_err(unread)?.is_dir() {
        let found = read(path)?;
        if !found.file.is_for_devices() {
            return Err(RegisterError::NoMatch { file: path.display().to_string() }.into());
        }
        return Ok(vec![found]);
    }
    let files = toml_files(path).map_err(unread)?;
    if files.is_empty() {
        return Err(RegistersError::NoFiles { path: path.into() });
    }
    files.iter().map(|path| read(path)).collect()
}

/// One register file, for whatever it is.
pub(crate) fn read(path: &Path) -> Result<Found, RegistersError> {
    let bytes = fs::read(path).map_err(|source| RegistersError::Read { path: path.into(), source })?;
    let foreign = |what: &str| RegistersError::Foreign { path: path.into(), what: what.into() };
    if let Some(FileFormat { name, .. }) = FileFormat::of(&bytes) {
        return Err(foreign(name));
    }
    let text = String::from_utf8(bytes).map_err(|_| foreign("no text"))?;
    let file = RegisterFile::parse(&path.display().to_string(), &text)?;
    Ok(Found { path: path.into(), file })
}

/// The register files of a folder, sorted.
fn toml_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let paths = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    let is_toml = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "toml");
    let mut files: Vec<PathBuf> = paths.into_iter().filter(is_toml).collect();
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use trapline_registers::Identity;

    use super::*;

    const NVME: Identity<'_> = Identity { vendor: 0x1b36, device: 0x10, class: 0x010802, driver: None };

    fn write(path: &Path, register: &str, rest: &str) -> PathBuf {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let text = format!(
            "name = \"x\"\n[[match]]\nclass = 0x010802\n[[register]]\noffset = 0x14\nname = \"{register}\"\n{rest}"
        );
        fs::write(path, text).unwrap();
        path.into()
    }

    fn name(loaded: &Loaded) -> String {
        loaded.registers.of(&NVME).unwrap().name(0, 0x14).unwrap().to_owned()
    }

    #[test]
    fn what_is_named_comes_before_the_persons_folder_and_that_before_the_systems() {
        let root = tempfile::tempdir().unwrap();
        let (mine, systems) = (root.path().join("mine"), root.path().join("systems"));
        let folders = Folders(vec![mine.clone(), systems.clone()]);
        assert_eq!(name(&load(&folders, &[]).unwrap()), "CC", "the folders may be missing");
        write(&systems.join("nvme.toml"), "SYSTEMS", "");
        assert_eq!(name(&load(&folders, &[]).unwrap()), "SYSTEMS");
        write(&mine.join("z.toml"), "MINE", "");
        fs::write(mine.join("broken.toml"), "name").unwrap();
        fs::write(mine.join("notes.txt"), "no register file").unwrap();
        assert_eq!(name(&load(&folders, &[]).unwrap()), "MINE");
        let one = write(&root.path().join("one.toml"), "ONE", "");
        write(&root.path().join("all/a.toml"), "ALL", "");
        assert_eq!(name(&load(&folders, &[one.clone(), root.path().join("all")]).unwrap()), "ALL");
        assert_eq!(name(&load(&folders, &[root.path().join("all"), one]).unwrap()), "ONE");
    }

    #[test]
    fn what_makes_no_sense_in_a_named_file_is_told_and_the_rest_is_used() {
        let root = tempfile::tempdir().unwrap();
        let bad = "[[register]]\noffset = 0x14\nname = \"TWICE\"\n[[register]]\noffset = 0\nname = \"W\"\nwidth = 5\n";
        let path = write(&root.path().join("a.toml"), "GOOD", bad);
        let loaded = load(&Folders(Vec::new()), &[path]).unwrap();
        assert_eq!(name(&loaded), "GOOD");
        let told = loaded.whole().unwrap_err().to_string();
        assert!(told.contains("register W at offset 0x0 was left out: width 5 is not"), "{told}");
        assert!(told.contains("; and 1 more; all else was used"), "{told}");
    }

    #[test]
    fn a_named_folder_without_files_and_a_file_without_devices_are_errors() {
        let root = tempfile::tempdir().unwrap();
        let error = load(&Folders(Vec::new()), &[root.path().into()]).unwrap_err().to_string();
        assert!(error.ends_with("holds no register file: expected files that end in .toml"), "{error}");
        let path = root.path().join("a.toml");
        fs::write(&path, "name = \"x\"\n").unwrap();
        let error = load(&Folders(Vec::new()), &[path]).unwrap_err().to_string();
        assert!(error.contains("describes no device"), "{error}");
    }

    #[test]
    fn what_is_no_register_file_is_named() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a.toml");
        for (bytes, what) in [
            (&b"{\"kind\":\"header\",\"x\":1}"[..], "is a trace as JSON Lines; expected a register file"),
            (b"<?xml version=\"1.0\"?>", "is XML; expected a register file"),
            (b"name = \"\xff\"", "is no text; expected a register file"),
        ] {
            fs::write(&path, bytes).unwrap();
            let error = load(&Folders(Vec::new()), std::slice::from_ref(&path)).unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
        }
    }

    #[test]
    fn a_users_home_is_found_among_others() {
        let passwords = "root:x:0:0:root:/root:/bin/sh\njo:x:1000:1000:Jo,,,:/home/jo:/bin/zsh\nbad:x\n";
        assert_eq!(home_of("jo", passwords), Some("/home/jo".into()));
        assert_eq!(home_of("j", passwords), None);
        assert_eq!(home_of("bad", passwords), None);
    }
}
