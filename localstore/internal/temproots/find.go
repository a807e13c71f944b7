package temproots

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"pix/internal/flock"
	"pix/localstore/internal/regular"
	"pix/store"
)

// Find returns the temporary roots of all running processes, including this one, valid or not. With tidy it removes the
// files of processes that have ended. It calls report with lines for the user. If a file cannot be read or parsed, Find
// reports and skips it. It skips a file that only another user may read without a report.
func Find(ctx context.Context, s State, tidy bool, report func(line string)) ([]store.Root, error) {
	f := &finder{state: s, probes: staleProbes, tidy: tidy, report: report}
	err := f.find(ctx)
	return f.roots, err
}

// A finder reads the files of temporary roots.
type finder struct {
	state      State
	probes     int               // how often to check that a file is unlocked
	tidy       bool              // remove the files of processes that have ended
	collecting bool              // the caller has locked gc.lock: see Collector.Roots
	report     func(line string) // may be nil

	roots    []store.Root
	owned    []*os.File // files of Nix 2.3 that stay locked until the collection ends
	deadline time.Time  // limits the wait for the locks of all of them; zero before the first
}

// staleProbes is how often, with pauses in between, a file must be found unlocked before it counts as stale.
//
// A process of Nix 2.3 converts its lock before and after it adds a root. If another process holds a lock on the file
// at that moment, the kernel releases the old lock, and grants the new one some time after the other lock has ended. In
// between the file is unlocked.
const staleProbes = 3

// pauseProbe waits between two probes. It is a variable for tests.
var pauseProbe = func(ctx context.Context) error { return flock.Sleep(ctx, 3*time.Millisecond) }

// addition is a time in which a process of Nix 2.3 certainly adds a root to its file. It is a variable for tests.
var addition = 20 * time.Millisecond

// find reads the files of all running processes.
func (f *finder) find(ctx context.Context) error {
	entries, err := os.ReadDir(f.state.RootsDir())
	if err != nil {
		return f.unreadable(f.state.RootsDir(), err)
	}
	var names []string
	for _, entry := range entries {
		// Nix 2.4 and later ignore hidden files, which package managers create to keep directories.
		if !strings.HasPrefix(entry.Name(), ".") {
			names = append(names, entry.Name())
		}
	}
	for probe := 1; ; probe++ {
		var unlocked []string
		for _, name := range names {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			isUnlocked, err := f.visit(ctx, name, probe == f.probes)
			if err != nil {
				return err
			}
			if isUnlocked {
				unlocked = append(unlocked, name)
			}
		}
		if len(unlocked) == 0 || probe == f.probes {
			return nil
		}
		if err := pauseProbe(ctx); err != nil {
			return err
		}
		names = unlocked
	}
}

// visit reads a file if it is locked, because its process then runs. At the last probe it removes an unlocked file.
func (f *finder) visit(ctx context.Context, name string, last bool) (unlocked bool, err error) {
	path := filepath.Join(f.state.RootsDir(), name)
	file, err := f.open(path)
	if err != nil || file == nil {
		return false, f.unreadable(path, err)
	}
	keep := false
	defer func() {
		if !keep {
			err = errors.Join(err, file.Close())
		}
	}()
	free, err := flock.Try(file.File, flock.Exclusive)
	switch {
	case err != nil:
		return false, f.unreadable(path, err)
	case free:
		if last && f.tidy {
			f.removeStale(file)
		}
		return true, nil
	}
	if f.collecting {
		if keep, err = f.lockOldProcess(ctx, file, name); err != nil {
			return false, err
		}
		if !beginsWithInt(name) {
			f.logf("warning: Nix older than 2.35 collects no garbage while '%s' exists, because of its name; it is in use", path)
		}
	}
	return false, f.read(ctx, file, name)
}

// open opens a file. It returns nil if the file does not exist, or is not a regular file: no version of Nix stores
// roots in such a file. It does not wait for the writer of a named pipe.
func (f *finder) open(path string) (*flock.File, error) {
	info, err := os.Stat(path)
	if regular.IsDangling(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	flag := os.O_RDONLY
	if f.tidy {
		flag = os.O_RDWR
	}
	var file *os.File
	if info.Mode().IsRegular() {
		file, err = os.OpenFile(path, flag|syscall.O_NONBLOCK, 0)
		if regular.IsDangling(err) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		if info, err = file.Stat(); err != nil {
			return nil, errors.Join(err, file.Close())
		}
	}
	if !info.Mode().IsRegular() {
		f.logf("ignoring '%s', which is not a regular file and so contains no temporary roots", path)
		if file != nil {
			return nil, file.Close()
		}
		return nil, nil
	}
	return flock.New(file)
}

// removeStale removes a file whose process has ended. The file is locked exclusively. A process that has opened the
// file and waits for the lock finds the stale mark, and creates another file.
func (f *finder) removeStale(file *flock.File) {
	// The file may have been deleted meanwhile, and its name may belong to another file or a symlink.
	if linked, err := file.IsLinked(); !linked || err != nil {
		return
	}
	f.logf("removing stale temporary roots file '%s'", file.Name())
	_, err := file.WriteString(flock.StaleMark)
	if err == nil {
		err = remove(file.Name())
	}
	if err != nil {
		f.logf("cannot remove it: %v", err)
	}
}

// lockOldProcess locks the file of a process of Nix 2.3 or 2.4 until the collection ends, so that the process waits if
// it adds a root. It reports whether it has locked the file. A process of a later version holds an exclusive lock until
// it ends, and sends roots to the collector.
//
// A process of Nix 2.3 also holds an exclusive lock while it writes. Only the duration of the lock shows the version,
// so lockOldProcess waits.
func (f *finder) lockOldProcess(ctx context.Context, file *flock.File, name string) (bool, error) {
	if strings.Trim(name, "0123456789") != "" {
		return false, nil // Nix 2.3 and 2.4 use names of digits only
	}
	if f.deadline.IsZero() {
		f.deadline = time.Now().Add(addition)
	}
	for {
		owned, err := flock.Try(file.File, flock.Shared)
		if err != nil {
			return false, err
		}
		if owned {
			f.owned = append(f.owned, file.File)
			return true, nil
		}
		if time.Now().After(f.deadline) {
			return false, nil
		}
		if err := flock.Sleep(ctx, time.Millisecond); err != nil {
			return false, err
		}
	}
}

// read reads the roots in a file. While no collector runs, the process of the file may rewrite it, so an entry may
// consist of parts of an old and a new entry. In that case read tries again, a few times.
func (f *finder) read(ctx context.Context, file *flock.File, name string) error {
	const tries = 5
	for try := 1; ; try++ {
		roots, err := f.parse(file, label(name))
		if err == nil {
			f.roots = append(f.roots, roots...)
			return nil
		}
		if try == tries {
			return f.unreadable(file.Name(), err)
		}
		if err := flock.Sleep(ctx, time.Millisecond); err != nil {
			return err
		}
	}
}

// maxEntry is a length in bytes that every path is shorter than.
const maxEntry = 4 << 10

func (f *finder) parse(file io.ReaderAt, link string) (roots []store.Root, err error) {
	in := bufio.NewReaderSize(io.NewSectionReader(file, 0, math.MaxInt64), maxEntry)
	for {
		entry, err := in.ReadSlice(0)
		if err == io.EOF {
			return roots, nil // an entry without a zero byte is being written, and no process relies on it yet
		}
		if err != nil {
			return nil, fmt.Errorf("entry %.100q: %w", entry, err)
		}
		path, err := f.state.Store.Parse(string(entry[:len(entry)-1]))
		if err != nil {
			return nil, err
		}
		roots = append(roots, store.Root{Link: link, Path: path})
	}
}

// label returns the name that Nix prints for the roots of a file: the number at the beginning of the file's name, or,
// as in Nix 2.35.0, the whole name.
func label(name string) string {
	if pid := name[:len(name)-len(strings.TrimLeft(name, "0123456789"))]; pid != "" {
		name = pid
	}
	return "{temp:" + name + "}"
}

// beginsWithInt reports whether std::stoi, which Nix before 2.35.0 calls with the name of each file, returns a number.
// If it throws an exception, Nix collects nothing.
func beginsWithInt(name string) bool {
	name = strings.TrimLeft(name, " \t\n\v\f\r")
	sign := ""
	if strings.HasPrefix(name, "-") || strings.HasPrefix(name, "+") {
		sign, name = name[:1], name[1:]
	}
	digits := name[:len(name)-len(strings.TrimLeft(name, "0123456789"))]
	_, err := strconv.ParseInt(sign+digits, 10, 32)
	return err == nil
}

// unreadable handles an error that hides the roots in path. A collector must not delete anything then, because any path
// may be one of these roots, so unreadable returns an error. Otherwise it reports err and returns nil.
func (f *finder) unreadable(path string, err error) error {
	switch {
	case err == nil || path == f.state.RootsDir() && errors.Is(err, fs.ErrNotExist):
		return nil
	case f.collecting:
		return fmt.Errorf("the temporary roots in '%s' cannot be determined, so nothing is deleted: %w", path, err)
	case !errors.Is(err, fs.ErrPermission):
		f.logf("skipping the temporary roots in '%s': %v", path, err)
	}
	return nil
}

func (f *finder) logf(format string, args ...any) {
	if f.report != nil {
		f.report(fmt.Sprintf(format, args...))
	}
}
