package localstore

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io/fs"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"pix/localstore/internal/filetime"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// checkedObjects remembers which objects had the right hash when they were read last, and in
// which state they were. An object that is still in that state need not be hashed again: the
// system keeps, and nobody can set, the time at which a file was changed last.
//
// What a disk gets wrong by itself is not noticed so; that is for [Store.VerifyStore], and for
// whoever receives the object. Nix never checks what it sends.
type checkedObjects struct {
	now func() time.Time // nil is time.Now

	mu sync.Mutex
	of map[storepath.Path]checkedObject
}

type checkedObject struct {
	hash  nixhash.Hash // of its archive, as the database had it
	state objectState
}

// An objectState stands for the identity of all files of an object, and for when they were
// changed. The zero value is no state: that of an object whose many small files are hashed as
// fast as they are looked at, or that was changed just now.
type objectState [sha256.Size]byte

const (
	// maxCheckedFiles is the largest number of files, directories and symlinks of an object
	// that is remembered.
	maxCheckedFiles = 256
	// maxChecked is how many objects are remembered. They take less than 2 MB.
	maxChecked = 1 << 13
)

// has reports whether an object had the right hash when it was in that state.
func (c *checkedObjects) has(info *store.PathInfo, now objectState) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return now != objectState{} && c.of[info.Path] == checkedObject{info.NARHash, now}
}

// add remembers that an object has the right hash. It was in that state before it was read.
func (c *checkedObjects) add(info *store.PathInfo, before objectState) {
	if before == (objectState{}) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.of == nil || len(c.of) >= maxChecked {
		c.of = make(map[storepath.Path]checkedObject)
	}
	c.of[info.Path] = checkedObject{info.NARHash, before}
}

// errManyFiles says that an object has too many files.
var errManyFiles = errors.New("too many files")

// state returns the state of the object of that name, and none if that cannot be found out.
func (c *checkedObjects) state(name string) objectState {
	now := time.Now()
	if c.now != nil {
		now = c.now()
	}
	h := sha256.New()
	files := 0
	var facts []byte // of a file
	err := filepath.WalkDir(name, func(name string, _ fs.DirEntry, err error) error {
		if files++; files > maxCheckedFiles {
			return errManyFiles
		}
		var stat unix.Stat_t
		if err == nil {
			err = unix.Lstat(name, &stat)
		}
		if err != nil {
			return err
		}
		if !filetime.IsSettled(stat.Ctim, now) {
			return errUnsettled
		}
		facts = facts[:0]
		for _, n := range [...]int64{int64(stat.Dev), int64(stat.Ino), int64(stat.Mode), stat.Size, stat.Ctim.Nano(), stat.Mtim.Nano()} {
			facts = binary.LittleEndian.AppendUint64(facts, uint64(n))
		}
		h.Write(facts)
		return nil
	})
	if err != nil {
		return objectState{}
	}
	return objectState(h.Sum(nil))
}

var errUnsettled = errors.New("changed just now")
