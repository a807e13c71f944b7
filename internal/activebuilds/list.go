package activebuilds

import (
	"cmp"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"pix/internal/flock"
	"pix/store"
	"pix/storepath"
)

const (
	maxText   = 64 << 10 // of a file
	maxBuilds = 1 << 12  // in a list
)

// List returns the builds of the processes that use a state directory, in the order of their starts. It ignores files that
// are not the record of a build, and files of other users, which it may not read.
func List(stateDir string, dir storepath.Dir) ([]store.ActiveBuild, error) {
	d, err := os.Open(filepath.Join(stateDir, dirName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer d.Close()
	names, err := d.Readdirnames(maxBuilds)
	if err != nil && err != io.EOF {
		return nil, err
	}
	var builds []store.ActiveBuild
	for _, name := range names {
		if !recordName.MatchString(name) {
			continue
		}
		if b := read(filepath.Join(d.Name(), name), dir); b != nil {
			builds = append(builds, *b)
		}
	}
	slices.SortFunc(builds, func(a, b store.ActiveBuild) int {
		return cmp.Or(a.Start.Compare(b.Start), cmp.Compare(a.Derivation, b.Derivation))
	})
	addProcesses(builds)
	return builds, nil
}

// recordName matches the names of records: the id of a process and a number.
var recordName = regexp.MustCompile(`^[0-9]{1,10}-[0-9]{1,20}$`)

// read reads the record of a build, or returns nil if there is none.
func read(name string, dir storepath.Dir) *store.ActiveBuild {
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil
	}
	const tries = 3 // the record may be written for the first time
	for range tries {
		if dead, err := flock.Try(f, flock.Shared); dead || err != nil {
			if dead {
				_ = os.Remove(name) // a store that can only be read keeps it, and every reader ignores it
			}
			return nil
		}
		text, err := io.ReadAll(io.NewSectionReader(f, 0, maxText))
		if err != nil {
			return nil
		}
		if b, err := store.ParseActiveBuildJSON(dir, text); err == nil {
			return b
		}
		time.Sleep(time.Millisecond)
	}
	return nil
}
