package builder

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"pix/internal/removetree"
)

// markExt is what a mark has after the name of the build directory.
const markExt = ".lock"

// maxMark is how long the text of a mark is at most in bytes.
const maxMark = 8192

// A mark is a locked file that says which directories belong to a build. Its text is the store directory on this machine and
// the base name of the derivation, each on a line: the sandbox of the build is there (see [chroot]).
type mark struct{ file *os.File }

func (b *build) markText() string {
	return fmt.Sprintf("%s\n%s\n", filepath.Dir(b.store.ObjectFile(b.req.Path)), b.req.Path.Base())
}

// makeMark makes a mark; nil if another process has one of that name, or removes it.
func makeMark(name, text string) (*mark, error) {
	file, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if errors.Is(err, os.ErrExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	m := &mark{file}
	locked, err := tryLock(file)
	if err == nil && locked {
		_, err = file.WriteString(text)
	}
	if err == nil && locked {
		return m, nil
	}
	return nil, errors.Join(err, m.remove())
}

// remove deletes the mark.
func (m *mark) remove() error {
	if m == nil {
		return nil
	}
	return errors.Join(os.Remove(m.file.Name()), m.file.Close())
}

// close releases the lock, and leaves the mark for the next process.
func (m *mark) close() error {
	if m == nil {
		return nil
	}
	return m.file.Close()
}

// tryLock takes the lock of a file, and returns false if another process holds it. The lock ends with the descriptor.
func tryLock(f *os.File) (bool, error) {
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			return true, nil
		case errors.Is(err, unix.EWOULDBLOCK):
			return false, nil
		case !errors.Is(err, unix.EINTR):
			return false, &os.PathError{Op: "lock", Path: f.Name(), Err: err}
		}
	}
}

// lockUser takes the lock of a build user; nil if another build holds it.
func lockUser(name string) (*os.File, error) {
	file, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	locked, err := tryLock(file)
	if err != nil || !locked {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// removeDead removes the directories of builds whose process was killed. It leaves those without a mark, such as Nix's and kept
// ones, those of other users, and those of other stores. After an error it goes on, and returns the first.
func removeDead(base, storeDir string) error {
	entries, first := os.ReadDir(base)
	if errors.Is(first, os.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		if name := e.Name(); strings.HasPrefix(name, "nix-") && strings.HasSuffix(name, markExt) {
			first = cmp.Or(first, removeDeadBuild(filepath.Join(base, name), storeDir))
		}
	}
	return first
}

func removeDeadBuild(name, storeDir string) error {
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
	if locked, err := tryLock(file); err != nil || !locked {
		return err
	}
	if !hasName(file, name) {
		return nil
	}
	text, err := io.ReadAll(io.LimitReader(file, maxMark))
	if err != nil {
		return err
	}
	lines := strings.Split(string(text), "\n")
	if len(lines) == 3 {
		if lines[0] != storeDir {
			return nil
		}
		if base := lines[1]; base != "" && base == filepath.Base(base) {
			err = removeDeadChroot(filepath.Join(storeDir, base+chrootExt))
		}
	} else if info, statErr := file.Stat(); statErr != nil || time.Since(info.ModTime()) < time.Minute {
		return statErr // its process has not written the text yet
	}
	err = errors.Join(err, removetree.RemovePath(strings.TrimSuffix(name, markExt)))
	if err != nil {
		return err
	}
	return os.Remove(name)
}

// isOwnMark reports whether this user has made a mark, which no other one could link or write to.
func isOwnMark(file *os.File) bool {
	var st unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &st); err != nil {
		return false
	}
	return st.Mode == unix.S_IFREG|0o600 && st.Nlink == 1 && int(st.Uid) == os.Geteuid()
}

// hasName reports whether an open file has that name.
func hasName(file *os.File, name string) bool {
	var open, named unix.Stat_t
	if unix.Fstat(int(file.Fd()), &open) != nil || unix.Lstat(name, &named) != nil {
		return false
	}
	return open.Dev == named.Dev && open.Ino == named.Ino
}
