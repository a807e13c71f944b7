package builder

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"pix/internal/flock"
	"pix/internal/removetree"
	"pix/storepath"
)

// chrootExt is the extension of the directory of a sandbox. The name of the derivation precedes it.
const chrootExt = ".chroot"

// A chroot is the directory with the root of a sandbox. It is in the store directory, beside the derivation, so that
// a rename moves an output to its place. The temporary root of the derivation keeps a collector from deleting it.
//
// The directory is locked while it is used or removed. Only this user may enter it, so no other user can change the
// outputs before they are checked.
type chroot struct {
	top  string // NAME.drv.chroot
	root string // what the builder sees as /
	lock *os.File
}

// makeChroot makes the directory with the root.
func (b *build) makeChroot(ctx context.Context) (*chroot, error) {
	c, err := b.makeTop(ctx)
	if err != nil {
		return nil, err
	}
	c.root = filepath.Join(c.top, "root")
	mode, owner := fs.FileMode(0o750), 0
	if b.user != nil && b.user.count > 1 {
		mode, owner = 0o755, b.user.uid
	}
	err = makeDir(c.root, mode)
	if err == nil && b.user != nil {
		err = os.Lchown(c.root, owner, b.user.gid)
	}
	if err != nil {
		return nil, errors.Join(err, c.remove())
	}
	return c, nil
}

// makeTop makes the directory. If a killed process has left one, makeTop removes that first. A build without a
// sandbox needs the directory for copies of its outputs.
func (b *build) makeTop(ctx context.Context) (*chroot, error) {
	if err := b.store.AddTempRoots(ctx, []storepath.Path{b.req.Path}); err != nil {
		return nil, err
	}
	top := b.store.ObjectFile(b.req.Path) + chrootExt
	for {
		if err := removeChroot(ctx, top); err != nil {
			return nil, err
		}
		lock, err := makeLockedDir(top)
		if err != nil {
			return nil, err
		}
		if lock != nil {
			return &chroot{top: top, lock: lock}, nil
		}
	}
}

// makeLockedDir makes a directory and locks it. It returns nil if the directory exists, or if another process locked
// it first to remove it, because it took it for the directory of a killed process.
func makeLockedDir(name string) (lock *os.File, err error) {
	if err := os.Mkdir(name, 0o700); errors.Is(err, fs.ErrExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	// With some umasks, the owner could not enter it: the set-up process is root without the capabilities of root.
	err = os.Chmod(name, 0o700)
	var dir *os.File
	if err == nil {
		dir, err = os.OpenFile(name, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if locked, err := flock.Try(dir, flock.Exclusive); err != nil || !locked || !hasName(dir, name) {
		return nil, errors.Join(err, dir.Close())
	}
	return dir, nil
}

// remove removes the directory with everything in it.
func (c *chroot) remove() error {
	if c == nil {
		return nil
	}
	err := removetree.RemovePath(c.top)
	if c.lock != nil {
		err = errors.Join(err, c.lock.Close())
	}
	return err
}

// file returns the file on this machine that the builder sees as inside.
func (c *chroot) file(inside string) string {
	return filepath.Join(c.root, filepath.Clean("/"+inside))
}

// removeChroot removes the directory of a sandbox. It waits while another process has locked it.
func removeChroot(ctx context.Context, top string) error {
	for {
		gone, err := tryRemoveChroot(top)
		if err != nil || gone {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// removeDeadChroot removes the directory of a sandbox unless a process uses it.
func removeDeadChroot(top string) error {
	if !strings.HasSuffix(top, ".drv"+chrootExt) {
		return nil
	}
	_, err := tryRemoveChroot(top)
	return err
}

// tryRemoveChroot removes the directory of a sandbox unless it is locked, and reports whether it is gone.
func tryRemoveChroot(top string) (gone bool, err error) {
	dir, err := os.OpenFile(top, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil { // a file, or a symlink
		return true, removetree.RemovePath(top)
	}
	defer dir.Close()
	locked, err := flock.Try(dir, flock.Exclusive)
	if err != nil || !locked || !hasName(dir, top) {
		return false, err
	}
	return true, removetree.RemovePath(top)
}

// makeDir makes a directory with exactly this mode, independent of the umask.
func makeDir(path string, mode fs.FileMode) error {
	if err := os.Mkdir(path, mode); err != nil {
		return err
	}
	return os.Chmod(path, mode)
}
