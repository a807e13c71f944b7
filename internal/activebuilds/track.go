package activebuilds

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"pix/internal/flock"
	"pix/internal/modes"
	"pix/store"
)

// dirName is the directory in the state directory of a store.
const dirName = "active-builds"

// A Tracked is a build that other processes can list. It is for one goroutine.
type Tracked struct {
	file  *os.File
	build store.ActiveBuild
	size  int // of the text
}

var lastID atomic.Uint64

// Track makes a running build visible until [Tracked.Close].
func Track(stateDir string, b store.ActiveBuild) (*Tracked, error) {
	b.Owner = os.Getpid()
	dir := filepath.Join(stateDir, dirName)
	for {
		f, err := create(filepath.Join(dir, strconv.Itoa(b.Owner)+"-"+strconv.FormatUint(lastID.Add(1), 10)))
		if errors.Is(err, fs.ErrNotExist) {
			if err := modes.MkdirAll(dir); err != nil {
				return nil, err
			}
			continue
		}
		if err != nil {
			return nil, err
		}
		if f == nil {
			continue
		}
		t := &Tracked{file: f, build: b}
		if err := t.write(); err != nil {
			return nil, errors.Join(err, t.Close())
		}
		return t, nil
	}
}

// create creates and locks a file. It returns nil if the file exists, or if a reader has locked the new file first
// to delete it, because it took it for the file of a killed process.
func create(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	lock, err := flock.New(f)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	locked, err := flock.Try(f, flock.Exclusive)
	linked := false
	if locked && err == nil {
		linked, err = lock.IsLinked()
	}
	if err != nil || !linked {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// maxPhase is how many bytes of a phase are kept. The name comes from a builder.
const maxPhase = 128

// SetPhase records the phase of the build. A nil Tracked records nothing.
func (t *Tracked) SetPhase(phase string) error {
	if t == nil {
		return nil
	}
	t.build.Phase = strings.ToValidUTF8(phase[:min(len(phase), maxPhase)], "")
	return t.write()
}

// write writes the text in one call, so that readers see the old text or the new one. Spaces cover the end of a longer old
// text.
func (t *Tracked) write() error {
	text, err := json.Marshal(t.build)
	if err != nil {
		return err
	}
	for len(text) < t.size {
		text = append(text, ' ')
	}
	t.size = len(text)
	_, err = t.file.WriteAt(text, 0)
	return err
}

// Close makes the build invisible. A nil Tracked does nothing.
func (t *Tracked) Close() error {
	if t == nil {
		return nil
	}
	err := os.Remove(t.file.Name())
	if errors.Is(err, fs.ErrNotExist) { // the state directory was removed
		err = nil
	}
	return errors.Join(err, t.file.Close())
}
