package nar

import (
	"hash"

	"pix/nixhash"
)

// A Hasher computes the hash and the size of what is written to it. To do several
// things with a stream in one pass, write it to several such writers with
// [io.MultiWriter]: a Hasher, a [Lister], a [RefScanner], and wherever the bytes go.
type Hasher struct {
	algo    nixhash.Algorithm
	running hash.Hash
	size    uint64
}

// NewHasher returns a Hasher of that algorithm, which must be valid.
func NewHasher(algo nixhash.Algorithm) *Hasher { return &Hasher{algo: algo, running: algo.New()} }

// Write implements io.Writer. It never fails.
func (h *Hasher) Write(p []byte) (int, error) {
	h.size += uint64(len(p))
	return h.running.Write(p)
}

// Hash returns the hash of what was written so far.
func (h *Hasher) Hash() nixhash.Hash { return nixhash.FromHash(h.algo, h.running) }

// Size returns the number of bytes that were written so far.
func (h *Hasher) Size() uint64 { return h.size }
