package localstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// deleteUnusedLinks deletes the files in .links that have no other name: nothing in the store is
// the same file any more.
func (s *shared) deleteUnusedLinks(ctx context.Context) error {
	say(ctx, "deleting unused links...")
	dir, err := os.Open(s.links())
	if err != nil {
		return ignoreMissing(err)
	}
	defer dir.Close()
	var saved int64
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		names, err := dir.Readdirnames(4096)
		for _, name := range names {
			size, err := deleteIfUnused(int(dir.Fd()), name)
			if err != nil {
				return err
			}
			saved += size
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(dir.Fd()), &st); err != nil {
		return err
	}
	say(ctx, "note: hard linking is currently saving %s", renderSize(saved-st.Blocks*512))
	return nil
}

// deleteIfUnused deletes a file that has no other name, or returns how many bytes its other names
// save.
func deleteIfUnused(dir int, name string) (saved int64, err error) {
	var st unix.Stat_t
	if err := unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return 0, ignoreMissing(pathError("stat", name, err))
	}
	if st.Nlink != 1 {
		return (int64(st.Nlink) - 2) * st.Size, nil // it has one name here, and needs one in any case
	}
	return 0, ignoreMissing(pathError("remove", name, unix.Unlinkat(dir, name, 0)))
}

// renderSize writes a number of bytes as Nix does: "1.5 MiB".
func renderSize(n int64) string {
	unit, denominator := 0, 1024.0
	for rest := max(n, -n) / 1024; rest > 1024 && unit < len(sizeUnits)-1; rest /= 1024 {
		unit++
		denominator *= 1024
	}
	return fmt.Sprintf("%.1f %ciB", float64(n)/denominator, sizeUnits[unit])
}

const sizeUnits = "KMGTPE"
