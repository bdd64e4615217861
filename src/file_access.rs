//! Owners of files: which files of a shared folder may be opened, and to whom new ones belong.
//!
//! Other users may write the folder, or it belongs to a service and root works in it. A file is
//! opened without following a link, and used only if its owner is trusted: this user, root, or the
//! owner of the folder, who can replace every file in it anyway. A file that root creates belongs to
//! the folder's owner, so that the service can go on with it.

use std::error::Error;
use std::fmt;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Access, AtFlags, CWD, OFlags, accessat};
use rustix::io::{Errno, retry_on_intr};

use crate::timeouts::PIPE_TIMEOUT;
use crate::untrusted::quote_for_shell;

/// The user id of root.
pub(crate) const ROOT: u32 = 0;

/// Why a file cannot be used, and what the user can do about it; the content of an [`io::Error`].
#[derive(Debug)]
struct AccessProblem {
    what: String,
    remedy: Option<String>,
}

impl fmt::Display for AccessProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl Error for AccessProblem {}

/// The user id of this process. (`/proc/self` belongs to root in a process that cannot be dumped.)
pub(crate) fn our_user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// The group id of this process.
pub(crate) fn our_group() -> u32 {
    rustix::process::getegid().as_raw()
}

/// Whether users of this process trust the file's owner: it is this user or root.
pub(crate) fn is_ours_or_roots(file: &Metadata) -> bool {
    [our_user(), ROOT].contains(&file.uid())
}

/// The folder that a file lies in.
pub(crate) fn folder_of(file: &Path) -> &Path {
    file.parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

/// Whether the group or all users may write the file, or replace the files of a folder. In a folder
/// with the sticky bit only its owner can remove a file. A group of the owner's number is the owner's
/// own, as many distributions make it for each user, with a umask of 002.
pub(crate) fn others_may_write(file: &Metadata) -> bool {
    let is_sticky = file.is_dir() && file.mode() & 0o1000 != 0;
    let bits = if file.gid() == file.uid() {
        0o002
    } else {
        0o022
    };
    file.mode() & bits != 0 && !is_sticky
}

/// A warning if others may write the file or folder; `what` says what it is.
pub(crate) fn write_warning(path: &Path, what: &str) -> Option<String> {
    let found = fs::metadata(path).ok()?;
    others_may_write(&found).then(|| {
        let (shown, state) = (quote_for_shell(path), owner_and_mode(&found));
        format!("{shown}, {what}, can be written by others ({state}); type: chmod go-w {shown}")
    })
}

/// The owner and mode of a file, for messages.
pub(crate) fn owner_and_mode(file: &Metadata) -> String {
    format!("owner {}, mode {:04o}", file.uid(), file.mode() & 0o7777)
}

/// The target of a symbolic link, or the path itself if it is no link, or a link that belongs to
/// neither root, nor this user, nor the target's owner.
pub(crate) fn resolve_link(path: &Path) -> PathBuf {
    let link = match fs::symlink_metadata(path) {
        Ok(link) if link.is_symlink() => link,
        _ => return path.to_owned(),
    };
    let target = fs::canonicalize(path).or_else(|_| {
        // The target does not exist yet.
        let to = fs::read_link(path)?;
        io::Result::Ok(path.parent().unwrap_or(Path::new("")).join(to))
    });
    let is_trusted = |target: &PathBuf| {
        let owner = fs::metadata(target).map(|file| file.uid()).ok();
        is_ours_or_roots(&link) || Some(link.uid()) == owner
    };
    target
        .ok()
        .filter(is_trusted)
        .unwrap_or_else(|| path.to_owned())
}

/// Whether both paths name the same file, which need not exist yet.
pub(crate) fn is_same_path(one: &Path, other: &Path) -> bool {
    let identity = |path: &Path| fs::metadata(path).map(|file| (file.dev(), file.ino()));
    match (identity(one), identity(other)) {
        (Ok(one), Ok(other)) => one == other,
        (Err(_), Err(_)) => {
            let [one, other] = [one, other].map(resolve_link);
            let folder = |path: &Path| fs::canonicalize(folder_of(path)).ok();
            one.file_name() == other.file_name() && folder(&one) == folder(&other)
        }
        _ => false,
    }
}

/// Opens a regular file of a trusted owner; never follows a link, and never waits for the other end
/// of a pipe.
pub(crate) fn open(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let file = open_any(path, options)?;
    let opened = file.metadata()?;
    if !opened.is_file() {
        return Err(no_regular_file(path, &opened));
    }
    check_owner(path, &opened)?;
    Ok(file)
}

/// Opens a file as [`open`] does, or a character device, whoever owns it: only root can make one, and
/// a terminal belongs to the user who logged in.
pub(crate) fn open_file_or_device(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let file = open_any(path, options)?;
    let opened = file.metadata()?;
    if opened.file_type().is_char_device() {
        let flags = rustix::fs::fcntl_getfl(&file)?;
        rustix::fs::fcntl_setfl(&file, flags - OFlags::NONBLOCK)?;
    } else if opened.is_file() {
        check_owner(path, &opened)?;
    } else {
        return Err(no_regular_file(path, &opened));
    }
    Ok(file)
}

/// Opens a file that the user names, to read it, whatever it is. A named pipe must contain something
/// within [`PIPE_TIMEOUT`]; a pipe without a name, as a shell makes for `<(command)`, has a writer.
pub(crate) fn open_to_read(path: &Path) -> io::Result<File> {
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)?;
    let is_pipe = file.metadata()?.file_type().is_fifo();
    if is_pipe && fs::canonicalize(path).is_ok() {
        let timeout = Timespec::try_from(PIPE_TIMEOUT).map_err(io::Error::other)?;
        let mut pipe = [PollFd::new(&file, PollFlags::IN)];
        if retry_on_intr(|| poll(&mut pipe, Some(&timeout)))? == 0 {
            let what = "it is a pipe, and nothing was written into it";
            return Err(io::Error::new(io::ErrorKind::TimedOut, what));
        }
    }
    let flags = rustix::fs::fcntl_getfl(&file)?;
    rustix::fs::fcntl_setfl(&file, flags - OFlags::NONBLOCK)?;
    Ok(file)
}

fn open_any(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    options
        .custom_flags(flags.bits().cast_signed())
        .open(path)
        .map_err(|error| explain(path, error))
}

fn check_owner(path: &Path, opened: &Metadata) -> io::Result<()> {
    let folder = fs::metadata(folder_of(path))?;
    if !is_ours_or_roots(opened) && opened.uid() != folder.uid() {
        return Err(of_another_user(path, opened, &folder));
    }
    // Another user may have linked a file of ours to this name. A file of the folder's owner in a
    // folder that nobody else can write was linked by its owner.
    let is_folders = opened.uid() == folder.uid() && folder.mode() & 0o022 == 0;
    if opened.nlink() > 1 && !is_folders {
        let what = "it is a hard link to a file that has other names";
        return Err(problem(
            io::ErrorKind::PermissionDenied,
            what.to_owned(),
            format!("remove it: rm {}", quote_for_shell(path)),
        ));
    }
    Ok(())
}

/// Creates a file that only its owner can read; fails if the name exists. What root creates belongs
/// to the folder's owner.
pub(crate) fn create_new(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    create_with_mode(path, options, 0o600)
}

/// [`create_new`] with another mode.
pub(crate) fn create_with_mode(
    path: &Path,
    options: &mut OpenOptions,
    mode: u32,
) -> io::Result<File> {
    // `create_new` neither follows a link nor opens an existing file.
    let file = options
        .create_new(true)
        .mode(mode)
        .open(path)
        .map_err(|error| explain(path, error))?;
    let folder = fs::metadata(folder_of(path))?;
    if our_user() == ROOT && folder.uid() != ROOT {
        // Some file systems have no owners; then the service can read the file all the same.
        let _ = fchown(&file, Some(folder.uid()), Some(folder.gid()));
    }
    Ok(file)
}

/// What the user can do about an error of this module.
pub(crate) fn remedy(error: &io::Error) -> Option<&str> {
    let problem = error.get_ref()?.downcast_ref::<AccessProblem>()?;
    problem.remedy.as_deref()
}

/// Says in the error what was being done; keeps its kind and its remedy.
pub(crate) fn during(doing: &str, error: &io::Error) -> io::Error {
    let remedy = remedy(error).map(str::to_owned);
    let what = format!("{doing}: {error}");
    io::Error::new(error.kind(), AccessProblem { what, remedy })
}

/// Checks, by the permissions alone, that this process can create and replace files beside this one.
pub(crate) fn check_folder(file: &Path) -> io::Result<()> {
    let folder = folder_of(file);
    check_access(folder, Access::WRITE_OK | Access::EXEC_OK).map_err(|error| {
        let is_missing = error.kind() == io::ErrorKind::NotFound;
        explain(if is_missing { file } else { folder }, error)
    })
}

/// Checks, by owner and permissions alone, that this process can write the file, if there is one.
pub(crate) fn check_writable(file: &Path) -> io::Result<()> {
    match open(file, OpenOptions::new().read(true)) {
        Ok(_) => check_access(file, Access::WRITE_OK).map_err(|error| explain(file, error)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn check_access(path: &Path, access: Access) -> io::Result<()> {
    Ok(accessat(CWD, path, access, AtFlags::EACCESS)?)
}

/// Renames a file; fails if the new name exists.
pub(crate) fn rename_to_new(from: &Path, to: &Path) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{RenameFlags, renameat_with};
        match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
            // This file system has no such operation.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {}
            renamed => return renamed.map_err(|error| explain(to, error.into())),
        }
    }
    match fs::symlink_metadata(to) {
        Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
        Err(_) => fs::rename(from, to).map_err(|error| explain(to, error)),
    }
}

/// Adds the owner, or the missing folder, to the operating system's error; returns any other error
/// unchanged.
pub(crate) fn explain(path: &Path, error: io::Error) -> io::Error {
    let file = fs::symlink_metadata(path);
    match (error.kind(), file) {
        (io::ErrorKind::AlreadyExists, _) => error,
        (_, Ok(link)) if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => problem(
            error.kind(),
            format!("it is a symbolic link of user {}", link.uid()),
            format!("remove it: rm {}", quote_for_shell(path)),
        ),
        (io::ErrorKind::PermissionDenied, _) => denied(path, error),
        (_, Ok(file)) if !file.is_file() && !file.is_symlink() => no_regular_file(path, &file),
        (io::ErrorKind::NotFound, Err(_)) if !folder_of(path).exists() => {
            let folder = quote_for_shell(folder_of(path));
            problem(
                error.kind(),
                format!("the folder {folder} does not exist"),
                format!("type: mkdir -p {folder}"),
            )
        }
        _ => error,
    }
}

/// Names the file or folder that denies access, and its owner.
fn denied(path: &Path, error: io::Error) -> io::Error {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    // What lies in a folder that cannot be entered cannot be examined.
    let denying = absolute
        .ancestors()
        .find_map(|place| fs::metadata(place).ok().map(|found| (place, found)));
    let Some((place, found)) = denying else {
        return error;
    };
    let us = our_user();
    let shown = quote_for_shell(place);
    let kind = if found.is_dir() {
        "the folder"
    } else {
        "the file"
    };
    let what = format!(
        "{error}: {kind} {shown} belongs to user {} (mode {:04o}), and this is user {us}",
        found.uid(),
        found.mode() & 0o7777,
    );
    let remedy = match (found.uid() == us, found.is_dir()) {
        (true, false) => format!("type: chmod u+rw {shown}"),
        (true, true) => format!("type: chmod u+rwx {shown}"),
        (false, false) => format!("type: chown {us} {shown}"),
        (false, true) => {
            format!(
                "run as user {}, or change its owner: chown {us} {shown}",
                found.uid()
            )
        }
    };
    problem(error.kind(), what, remedy)
}

fn no_regular_file(path: &Path, found: &Metadata) -> io::Error {
    let what = if found.is_dir() {
        "it is a folder, not a file"
    } else {
        "it is a pipe or a device, not a file"
    };
    let remedy = format!("move {} away, or name another file", quote_for_shell(path));
    problem(io::ErrorKind::InvalidInput, what.to_owned(), remedy)
}

fn of_another_user(path: &Path, file: &Metadata, folder: &Metadata) -> io::Error {
    let us = our_user();
    let owner = if us == ROOT { folder.uid() } else { us };
    problem(
        io::ErrorKind::PermissionDenied,
        format!(
            "it belongs to user {}, its folder to user {}, and this is user {us}",
            file.uid(),
            folder.uid(),
        ),
        format!(
            "if you trust its content, type: chown {owner} {}",
            quote_for_shell(path)
        ),
    )
}

/// An error with a remedy.
pub(crate) fn problem(kind: io::ErrorKind, what: String, remedy: String) -> io::Error {
    let remedy = Some(remedy);
    io::Error::new(kind, AccessProblem { what, remedy })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, chown, lchown, symlink};

    use super::*;

    const STRANGER: u32 = 12_345;

    /// Whether the test can give a file to another user; only root can.
    fn is_root() -> bool {
        our_user() == ROOT
    }

    fn open_to_write(path: &Path) -> io::Result<File> {
        open(path, OpenOptions::new().read(true).write(true))
    }

    #[test]
    fn a_link_is_not_followed_and_nothing_but_a_regular_file_is_opened() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("precious"), "kept").unwrap();
        symlink(path("precious"), path("link")).unwrap();
        symlink("missing", path("dangling")).unwrap();
        fs::create_dir(path("folder")).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            path("pipe"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
            0,
        )
        .unwrap();
        let link = format!("it is a symbolic link of user {}", our_user());
        let cases = [
            ("link", link.as_str()),
            ("dangling", &link),
            ("folder", "it is a folder, not a file"),
            ("pipe", "it is a pipe or a device, not a file"),
        ];
        for (name, line) in cases {
            let error = open_to_write(&path(name)).unwrap_err();
            assert_eq!(error.to_string(), line);
            assert!(remedy(&error).is_some());
            let error = open(&path(name), OpenOptions::new().read(true)).unwrap_err();
            assert_eq!(error.to_string(), line);
            let error = open(&path(name), OpenOptions::new().append(true)).unwrap_err();
            assert_eq!(error.to_string(), line);
        }
        assert!(open_to_write(&path("precious")).is_ok());
    }

    #[test]
    fn a_device_is_opened_where_it_is_asked_for() {
        let open_null =
            || open_file_or_device(Path::new("/dev/null"), OpenOptions::new().append(true));
        let flags = rustix::fs::fcntl_getfl(open_null().unwrap()).unwrap();
        assert!(!flags.contains(OFlags::NONBLOCK));
        let folder = tempfile::tempdir().unwrap();
        let error = open_file_or_device(folder.path(), OpenOptions::new().read(true));
        assert_eq!(error.unwrap_err().to_string(), "it is a folder, not a file");
    }

    #[test]
    fn a_rename_to_a_new_name_replaces_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("one"), "1").unwrap();
        fs::write(path("two"), "2").unwrap();
        let error = rename_to_new(&path("one"), &path("two")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        rename_to_new(&path("one"), &path("three")).unwrap();
        assert_eq!(fs::read_to_string(path("two")).unwrap(), "2");
        assert_eq!(fs::read_to_string(path("three")).unwrap(), "1");
    }

    #[test]
    fn an_error_says_what_was_being_done_and_keeps_its_remedy() {
        let missing = open_to_write(Path::new("/nonexistent/file")).unwrap_err();
        let error = during("opening the log", &missing);
        let line = "opening the log: the folder /nonexistent does not exist";
        assert_eq!(error.to_string(), line);
        assert_eq!(remedy(&error), Some("type: mkdir -p /nonexistent"));
        let plain = during("writing", &io::ErrorKind::StorageFull.into());
        assert_eq!(
            (plain.kind(), remedy(&plain)),
            (io::ErrorKind::StorageFull, None)
        );
    }

    #[test]
    fn a_file_of_another_user_is_opened_only_in_that_users_folder() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        if !is_root() {
            return;
        }
        chown(&file, Some(STRANGER), None).unwrap();
        let error = open_to_write(&file).unwrap_err();
        assert_eq!(
            error.to_string(),
            "it belongs to user 12345, its folder to user 0, and this is user 0"
        );
        assert!(remedy(&error).unwrap().contains("chown 0 "));
        chown(folder.path(), Some(STRANGER), None).unwrap();
        assert!(open_to_write(&file).is_ok());
    }

    #[test]
    fn a_hard_link_in_a_folder_that_others_can_write_is_not_opened() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("precious"), "kept").unwrap();
        fs::hard_link(path("precious"), path("link")).unwrap();
        assert!(open_to_write(&path("link")).is_ok());
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o1777)).unwrap();
        let line = "it is a hard link to a file that has other names";
        assert_eq!(open_to_write(&path("link")).unwrap_err().to_string(), line);
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
        if is_root() {
            chown(folder.path(), Some(STRANGER), None).unwrap();
            assert_eq!(open_to_write(&path("link")).unwrap_err().to_string(), line);
        }
    }

    #[test]
    fn what_root_creates_belongs_to_the_owner_of_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        if !is_root() {
            return;
        }
        let owner_of_new = |name: &str| {
            let file = create_new(&folder.path().join(name), OpenOptions::new().write(true));
            file.unwrap().metadata().unwrap().uid()
        };
        assert_eq!(owner_of_new("ours"), ROOT);
        chown(folder.path(), Some(STRANGER), Some(STRANGER)).unwrap();
        assert_eq!(owner_of_new("theirs"), STRANGER);
    }

    #[test]
    fn a_link_is_resolved_if_its_owner_is_trusted() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("file"), "").unwrap();
        symlink("file", path("link")).unwrap();
        let file = fs::canonicalize(path("file")).unwrap();
        assert_eq!(resolve_link(&path("link")), file);
        if is_root() {
            lchown(path("link"), Some(STRANGER), None).unwrap();
            assert_eq!(resolve_link(&path("link")), path("link"));
            chown(path("file"), Some(STRANGER), None).unwrap();
            assert_eq!(resolve_link(&path("link")), file);
        }
    }

    #[test]
    fn a_folder_with_the_sticky_bit_protects_the_files_of_each_user() {
        let folder = tempfile::tempdir().unwrap();
        let others_may_write = |mode: u32| {
            fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode)).unwrap();
            others_may_write(&fs::metadata(folder.path()).unwrap())
        };
        assert!(!others_may_write(0o755));
        assert!(others_may_write(0o757));
        assert!(!others_may_write(0o1777));
        let found = fs::metadata(folder.path()).unwrap();
        assert_eq!(others_may_write(0o775), found.gid() != found.uid());
        if is_root() {
            chown(folder.path(), Some(ROOT), Some(STRANGER)).unwrap();
            assert!(others_may_write(0o775));
            assert!(!others_may_write(0o1775));
        }
    }

    #[test]
    fn a_missing_folder_is_named() {
        let error = open_to_write(Path::new("/nonexistent/file")).unwrap_err();
        assert_eq!(error.to_string(), "the folder /nonexistent does not exist");
        assert_eq!(remedy(&error), Some("type: mkdir -p /nonexistent"));
    }
}
