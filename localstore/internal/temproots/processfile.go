package temproots

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"pix/internal/flock"
	"pix/storepath"
)

// A rootsFile is the file of the roots of this process, which it has locked.
type rootsFile struct {
	*flock.File
	size int64 // bytes of complete entries
	dead int   // entries of released roots
	torn bool  // a rewrite has failed, so entries may be missing
}

// createFile creates an empty file for the roots of this process in dir, and locks it shared.
//
// The name is PID-N. It begins with digits because Nix before 2.35.0 converts the beginning of each name to an int, and
// collects nothing if it cannot. It is never only PID: a Nix process with the same id in another PID namespace would
// consider the file one of an earlier process, and delete it. N is random, so that no name is used twice: a collector
// deletes a stale file by name some time after it has checked it, and would delete a new file with the same name.
//
// The lock shows that this process runs: a collector tries to lock the file exclusively. It is shared because the
// collectors of Nix 2.3 and 2.4 wait for their own shared lock.
func createFile(dir string) (*rootsFile, error) {
	const tries = 1000
	for range tries {
		name := fmt.Sprintf("%d-%d", os.Getpid(), 1+rand.Int32N(math.MaxInt32))
		file, err := os.OpenFile(filepath.Join(dir, name), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		locked, err := flock.New(file)
		if err != nil {
			return nil, err
		}
		f := &rootsFile{File: locked}
		// A collector may have considered the file stale and deleted it before it was locked.
		owned, err := flock.Try(file, flock.Shared)
		if owned {
			owned, err = f.IsLinked()
		}
		if owned && err == nil {
			return f, nil
		}
		if err := errors.Join(err, f.discard()); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("creating a file in '%s': other processes removed it %d times", dir, tries)
}

// discard removes the file, and releases its lock.
func (f *rootsFile) discard() error {
	linked, err := f.IsLinked()
	if linked {
		err = errors.Join(err, remove(f.Name()))
	}
	return errors.Join(err, f.Close())
}

// append writes entries at the end of the file. After an error the next entries overwrite a part that was written.
func (f *rootsFile) append(roots []storepath.Path) error {
	if len(roots) == 0 {
		return nil
	}
	var text []byte
	for _, p := range roots {
		text = appendEntry(text, p)
	}
	if _, err := f.WriteAt(text, f.size); err != nil {
		return errors.Join(err, f.Truncate(f.size))
	}
	f.size += int64(len(text))
	return nil
}

func appendEntry(text []byte, root storepath.Path) []byte { return append(append(text, root...), 0) }

// rewrite overwrites the entries in the file with the roots. No collector may read the file meanwhile.
//
// The file is not truncated first: on a full disk the write could then fail, and all entries would be lost. A
// copy-on-write file system needs space to overwrite, too, so after an error the file is torn.
func (f *rootsFile) rewrite(roots map[storepath.Path]int) error {
	var text []byte
	for p := range roots {
		text = appendEntry(text, p)
	}
	f.torn = true
	if _, err := f.WriteAt(text, 0); err != nil {
		return err
	}
	if err := f.Truncate(int64(len(text))); err != nil {
		return err
	}
	f.size, f.dead, f.torn = int64(len(text)), 0, false
	return nil
}

// isWorthRewriting reports whether the file has enough dead entries to be worth rewriting. A file with many live
// entries needs many dead ones. Otherwise each session that ends would write all live entries again.
func (f *rootsFile) isWorthRewriting(live int) bool {
	const few, part = 5000, 8
	return f.dead > 0 && (live < few || f.dead > live/part)
}

// open opens gc.lock and the file of roots, unless they are open and still have their names. It creates missing
// directories. Afterwards the file contains all roots of the process. A new file has a new generation.
func (p *process) open() error {
	if p.closed {
		return fs.ErrClosed
	}
	lost, err := p.hasLostFile()
	if err != nil {
		return err
	}
	if !lost {
		// The state directory is the same, so gc.lock exists as well, unless only gc.lock was deleted.
		if lost, err = p.gcLock.file.IsDeleted(); !lost || err != nil {
			return err
		}
		return p.openGCLock()
	}
	if err := makeDir(p.state.RootsDir()); err != nil {
		return err
	}
	return p.makeFile()
}

// hasLostFile reports whether there is no file of roots, or the file has lost its name or entries.
func (p *process) hasLostFile() (bool, error) {
	if p.file == nil || p.file.torn {
		return true, nil
	}
	linked, err := p.file.IsLinked()
	return !linked, err
}

// makeFile creates the file of roots, or replaces it, and opens the gc.lock beside it.
func (p *process) makeFile() error {
	file, err := createFile(p.state.RootsDir())
	if err != nil {
		return err
	}
	if err = p.openGCLock(); err == nil {
		err = file.rewrite(p.count)
	}
	if err != nil {
		return errors.Join(err, file.discard())
	}
	lost := p.file
	p.file = file
	p.generation++
	if p.watch == nil {
		p.watch = time.AfterFunc(watchInterval, p.checkPeriodically)
	}
	if lost != nil {
		return lost.discard()
	}
	return nil
}

// openGCLock opens gc.lock, unless it is open and still has its name. After an error the old one stays open.
func (p *process) openGCLock() error {
	if p.gcLock != nil {
		if linked, err := p.gcLock.file.IsLinked(); linked || err != nil {
			return err
		}
	}
	file, err := p.state.openGCLock()
	if err != nil {
		return err
	}
	p.closeConns()
	err = p.closeGCLock()
	p.gcLock = &gcLock{file: file}
	return err
}

func (p *process) closeGCLock() error {
	if p.gcLock == nil {
		return nil
	}
	err := p.gcLock.file.Close()
	p.gcLock = nil
	return err
}

func (p *process) closeFile() error {
	if p.file == nil {
		return nil
	}
	err := p.file.discard()
	p.file = nil
	return err
}

// record counts each root once more, and writes the new roots into the file.
func (p *process) record(roots []storepath.Path) error {
	if len(roots) == 0 {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.file == nil || p.file.torn { // secure checks later whether the file still has its name
		if err := p.open(); err != nil {
			return err
		}
	}
	if p.file.isWorthRewriting(len(p.count)) {
		if err := p.rewrite(); err != nil {
			return err
		}
	}
	fresh := make([]storepath.Path, 0, len(roots))
	for _, path := range roots {
		if p.count[path] == 0 {
			fresh = append(fresh, path)
		}
	}
	if err := p.file.append(fresh); err != nil {
		return err
	}
	for _, path := range roots {
		p.count[path]++
	}
	return nil
}

// release counts each root once less.
func (p *process) release(roots map[storepath.Path]bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for path := range roots {
		if p.count[path]--; p.count[path] <= 0 {
			delete(p.count, path)
			if p.file != nil {
				p.file.dead++
			}
		}
	}
	if p.file == nil || !p.file.isWorthRewriting(len(p.count)) {
		return nil
	}
	return p.rewrite()
}

// tidy rewrites the file if it has dead entries.
func (p *process) tidy() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.file == nil || p.file.dead == 0 {
		return nil
	}
	return p.rewrite()
}

// rewrite rewrites the file without its dead entries. It does nothing while a collector runs, because the collector
// must not read a half-written file; a later call rewrites it. It also does nothing if gc.lock is not open: the state
// directory was deleted then, and the next root is written into a new file.
func (p *process) rewrite() error {
	free, err := p.gcLock.acquire()
	if err != nil || !free {
		return err
	}
	return errors.Join(p.file.rewrite(p.count), p.gcLock.release())
}
