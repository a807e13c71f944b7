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

// chrootExt is what the directory of a sandbox has after the name of the derivation.
const chrootExt = ".chroot"

// A chroot is the directory with the root of a sandbox. It is in the store directory, beside the derivation, so that outputs are moved
// to their places by a rename. The temporary root of the derivation keeps a collector from deleting it.
//
// The directory is locked while it is used or removed. Only this user may enter it, so no process outside the sandbox
// reaches the outputs before they are checked.
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

// makeTop makes the directory, and removes one that a killed process has left. A build without a sandbox needs it for copies of
// its outputs.
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

// makeLockedDir makes a directory, and locks it; nil if another process has made it, or takes the new directory for a dead
// one's.
func makeLockedDir(name string) (lock *os.File, err error) {
	if err := os.Mkdir(name, 0o700); errors.Is(err, fs.ErrExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	dir, err := os.OpenFile(name, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
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

// file returns the name on this machine of a file that the builder sees.
func (c *chroot) file(inside string) string {
	return filepath.Join(c.root, filepath.Clean("/"+inside))
}

// removeChroot removes the directory of a sandbox that no process uses. It waits while another process removes it.
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

// tryRemoveChroot removes a directory that is not locked, and reports whether there is none now.
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

// makeDir makes a directory of a mode, whatever the umask.
func makeDir(path string, mode fs.FileMode) error {
	if err := os.Mkdir(path, mode); err != nil {
		return err
	}
	return os.Chmod(path, mode)
}
