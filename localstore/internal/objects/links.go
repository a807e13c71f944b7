package objects

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// LinksName is the name of the directory, in the store directory, of the files that several objects share.
const LinksName = ".links"

// OpenLinks opens the directory .links of a store directory. It does not follow a symlink, so that no files of another
// directory are deleted.
func OpenLinks(storeDir string) (*os.File, error) {
	return os.OpenFile(filepath.Join(storeDir, LinksName), os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
}

// DeleteUnusedLinks deletes the files in .links that have no other name, because no object contains them any more. It
// calls failed for each file that it cannot delete. It returns how many bytes the remaining hard links save, less the
// size of the directory. If it cannot open the directory, it calls failed and reports false.
func DeleteUnusedLinks(ctx context.Context, storeDir string, failed func(error)) (saved int64, opened bool, err error) {
	dir, err := OpenLinks(storeDir)
	if err != nil {
		if IgnoreNotExist(err) != nil {
			failed(err)
		}
		return 0, false, nil
	}
	defer dir.Close()
	for {
		if ctx.Err() != nil {
			return 0, true, context.Cause(ctx)
		}
		names, err := dir.Readdirnames(4096)
		for _, name := range names {
			size, err := deleteIfUnused(dir, name)
			if err != nil {
				failed(fmt.Errorf("cannot delete unused link: %w", err))
			}
			saved += size
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			failed(err)
			break
		}
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(dir.Fd()), &st); err != nil {
		return 0, true, err
	}
	return saved - st.Blocks*512, true, nil
}

// deleteIfUnused deletes a file that has no name outside of .links. If the file has other names, deleteIfUnused returns
// how many bytes they save: a file with 2 names saves none.
func deleteIfUnused(dir *os.File, name string) (saved int64, err error) {
	var st unix.Stat_t
	if err := unix.Fstatat(int(dir.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return 0, IgnoreNotExist(pathError("stat", filepath.Join(dir.Name(), name), err))
	}
	if st.Nlink != 1 {
		return (int64(st.Nlink) - 2) * st.Size, nil
	}
	err = unix.Unlinkat(int(dir.Fd()), name, 0)
	if err == nil || err == unix.ENOENT {
		return 0, nil
	}
	return 0, pathError("remove", filepath.Join(dir.Name(), name), err)
}
