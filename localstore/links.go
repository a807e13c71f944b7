package localstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"pix/internal/sizes"
)

// openLinks opens the directory .links. It does not follow a symlink: the files of another directory must not be
// deleted.
func (s *shared) openLinks() (*os.File, error) {
	return os.OpenFile(s.links(), os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
}

// deleteUnusedLinks deletes the files in .links that have no other name, because no file in the store
// has the same contents any more. It counts those that cannot be deleted as failures.
func (s *shared) deleteUnusedLinks(ctx context.Context, failures *failureLog) error {
	say(ctx, "deleting unused links...")
	dir, err := s.openLinks()
	if err != nil {
		if ignoreMissing(err) != nil {
			failures.add(ctx, err)
		}
		return nil
	}
	defer dir.Close()
	var saved int64
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		names, err := dir.Readdirnames(4096)
		for _, name := range names {
			size, err := deleteIfUnused(dir, name)
			if err != nil {
				failures.add(ctx, fmt.Errorf("cannot delete unused link: %w", err))
			}
			saved += size
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			failures.add(ctx, err)
			break
		}
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(dir.Fd()), &st); err != nil {
		return err
	}
	say(ctx, "note: hard linking is currently saving %s", sizes.Spell(saved-st.Blocks*512))
	return nil
}

// deleteIfUnused deletes a file that has no other name, or returns how many bytes its other names
// save.
func deleteIfUnused(dir *os.File, name string) (saved int64, err error) {
	var st unix.Stat_t
	if err := unix.Fstatat(int(dir.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return 0, ignoreMissing(pathError("stat", filepath.Join(dir.Name(), name), err))
	}
	if st.Nlink != 1 {
		return (int64(st.Nlink) - 2) * st.Size, nil // it has one name here, and needs one in any case
	}
	err = unix.Unlinkat(int(dir.Fd()), name, 0)
	if err == nil || err == unix.ENOENT {
		return 0, nil
	}
	return 0, pathError("remove", filepath.Join(dir.Name(), name), err)
}
