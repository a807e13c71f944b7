package localstore

import (
	"sync"
	"time"

	"pix/localstore/internal/objects"
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
	state objects.State
}

// maxChecked is how many objects are remembered. They need less than 2 MB.
const maxChecked = 1 << 13

// has reports whether an object had the right hash when it was in that state.
func (c *checkedObjects) has(info *store.PathInfo, now objects.State) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return now != objects.State{} && c.of[info.Path] == checkedObject{info.NARHash, now}
}

// add remembers that an object has the right hash. It was in that state before it was read.
func (c *checkedObjects) add(info *store.PathInfo, before objects.State) {
	if before == (objects.State{}) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.of == nil || len(c.of) >= maxChecked {
		c.of = make(map[storepath.Path]checkedObject)
	}
	c.of[info.Path] = checkedObject{info.NARHash, before}
}

// state returns the current state of the object with this name; see [objects.StateOf].
func (c *checkedObjects) state(name string) objects.State {
	now := time.Now()
	if c.now != nil {
		now = c.now()
	}
	return objects.StateOf(name, now)
}
