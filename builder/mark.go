package builder

import (
	"cmp"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"pix/internal/flock"
	"pix/internal/removetree"
	"pix/storepath"
)

// markExt is the extension of a mark. The name of the build directory precedes it.
const markExt = ".lock"

// maxMark is how long the text of a mark is at most in bytes. A scratch path has up to 250, and a derivation may have
// thousands of outputs.
const maxMark = 64 << 20

// A mark is a locked file that names the directories of a build. It has these lines: the store directory on this
// machine, the base name of the derivation (its sandbox is beside it, see [chroot]), the base names of the scratch
// paths if these are in the store, and an empty line.
type mark struct{ file *os.File }

func (b *build) markText() string {
	lines := []string{b.storeDir(), b.req.Path.Base()}
	if !b.sandboxed {
		for _, o := range b.outputs {
			lines = append(lines, o.scratch.Base())
		}
	}
	return strings.Join(lines, "\n") + "\n\n"
}

// storeDir returns the store directory on this machine, as other processes see it.
func (b *build) storeDir() string { return b.store.StoreDirName() }

// ownStoreDir returns the store directory as this process reaches it.
func (b *build) ownStoreDir() string { return filepath.Dir(b.store.ObjectFile(b.req.Path)) }

// outside returns the name for other processes of a file of this process that may be in the store directory.
func (b *build) outside(file string) string {
	if rest, ok := strings.CutPrefix(file, b.ownStoreDir()+"/"); ok {
		return filepath.Join(b.storeDir(), rest)
	}
	return file
}

// remount returns the store directory if it is mounted read-only for other processes.
func (b *build) remount() string {
	if b.ownStoreDir() == b.storeDir() {
		return ""
	}
	return b.storeDir()
}

// makeMark makes a mark. It returns nil if the name exists, or if another process locked the new file first to remove
// it, because it took it for the mark of a killed process. The text is written under the lock, and the directories
// are made afterwards. So a mark with an incomplete text has no directories.
func makeMark(name, text string) (*mark, error) {
	file, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if errors.Is(err, os.ErrExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	locked, err := flock.Try(file, flock.Exclusive)
	if err == nil {
		err = file.Chmod(0o600) // isOwnMark checks it, and the umask may have changed it
	}
	if err != nil || !locked || !hasName(file, name) {
		return nil, errors.Join(err, file.Close())
	}
	m := &mark{file}
	if _, err := file.WriteString(text); err != nil {
		return nil, errors.Join(err, m.remove())
	}
	return m, nil
}

// remove deletes the mark.
func (m *mark) remove() error {
	if m == nil {
		return nil
	}
	return errors.Join(os.Remove(m.file.Name()), m.file.Close())
}

// close releases the lock, and leaves the mark, so that the next process removes the directories.
func (m *mark) close() error {
	if m == nil {
		return nil
	}
	return m.file.Close()
}

// lockUser takes the lock of a build user. It returns nil if another build holds it.
func lockUser(name string) (*os.File, error) {
	file, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	locked, err := flock.Try(file, flock.Exclusive)
	if err != nil || !locked {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// removeDead removes the directories of builds whose process was killed. It leaves directories without a mark, such
// as kept ones and directories of Nix, and directories of other users and other stores. After an error it continues with
// the others, and returns the first error.
//
// If a process was killed a moment ago, its supervisor holds the lock until the builder has ended. Then removeDead returns
// false, and the caller should call it again later.
func (b *build) removeDead(ctx context.Context) (done bool, err error) {
	base := b.buildDirs()
	entries, first := os.ReadDir(base)
	if errors.Is(first, os.ErrNotExist) {
		return true, nil
	}
	done = true
	for _, e := range entries {
		name := e.Name()
		if !strings.HasPrefix(name, "nix-") || !strings.HasSuffix(name, markExt) {
			continue
		}
		err := b.removeDeadBuild(ctx, filepath.Join(base, name))
		if errors.Is(err, errLocked) {
			done = done && isAlive(name)
			continue
		}
		first = cmp.Or(first, err)
	}
	return done, first
}

// errLocked means that the mark of a build is locked.
var errLocked = errors.New("the build has not ended")

// isAlive reports whether the process that has made a mark is running. The name of the mark contains its id.
func isAlive(mark string) bool {
	id, _, _ := strings.Cut(strings.TrimPrefix(mark, "nix-"), "-")
	pid, err := strconv.Atoi(id)
	return err == nil && !errors.Is(unix.Kill(pid, 0), unix.ESRCH)
}

func (b *build) removeDeadBuild(ctx context.Context, name string) error {
	file, err := os.OpenFile(name, os.O_RDWR|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrPermission) || errors.Is(err, unix.ELOOP) {
		return nil
	}
	if err != nil {
		return err
	}
	defer file.Close()
	if !isOwnMark(file) {
		return nil
	}
	if locked, err := flock.Try(file, flock.Exclusive); err != nil || !locked {
		return cmp.Or(err, errLocked)
	}
	if !hasName(file, name) {
		return nil
	}
	text, err := io.ReadAll(io.LimitReader(file, maxMark))
	if err != nil {
		return err
	}
	if text, complete := strings.CutSuffix(string(text), "\n\n"); complete {
		lines := strings.Split(text, "\n")
		if lines[0] != b.storeDir() {
			return nil
		}
		err = errors.Join(b.removeDeadPaths(ctx, lines[1:]), removetree.RemovePath(strings.TrimSuffix(name, markExt)))
	}
	if err != nil {
		return err
	}
	return os.Remove(name)
}

// removeDeadPaths removes the sandbox of a derivation, and its scratch paths in the store. Another process may
// already build the derivation again, so it removes only what it can lock.
func (b *build) removeDeadPaths(ctx context.Context, bases []string) error {
	var errs error
	for i, base := range bases {
		path, err := b.store.Dir().ParseBase(base)
		if err != nil {
			return err
		}
		if i == 0 {
			errs = removeDeadChroot(b.store.ObjectFile(path) + chrootExt)
			continue
		}
		errs = errors.Join(errs, b.removeDeadScratch(ctx, path))
	}
	return errs
}

func (b *build) removeDeadScratch(ctx context.Context, path storepath.Path) error {
	locks, err := b.store.TryLockObjects(ctx, path.Base())
	if err != nil || locks == nil {
		return err
	}
	defer locks.Release()
	valid, err := b.store.IsValidPath(ctx, path)
	if err != nil || valid {
		return err
	}
	return b.store.RemoveObject(ctx, path)
}

// isOwnMark reports whether this user has made a mark. Another user cannot have written to it, or made a link to it.
func isOwnMark(file *os.File) bool {
	var st unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &st); err != nil {
		return false
	}
	return st.Mode == unix.S_IFREG|0o600 && st.Nlink == 1 && int(st.Uid) == os.Geteuid()
}

// hasName reports whether an open file still has this name.
func hasName(file *os.File, name string) bool {
	var open, named unix.Stat_t
	if unix.Fstat(int(file.Fd()), &open) != nil || unix.Lstat(name, &named) != nil {
		return false
	}
	return open.Dev == named.Dev && open.Ino == named.Ino
}
