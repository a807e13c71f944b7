package nar

import (
	"encoding/binary"
	"hash"
	"strconv"
	"strings"

	"pix/nixhash"
)

// A Hasher computes the hash and the size of the bytes that are written to it.
type Hasher struct {
	algo    nixhash.Algorithm
	running hash.Hash
	size    uint64
}

// NewHasher returns a Hasher with the given algorithm, which must be valid.
func NewHasher(algo nixhash.Algorithm) *Hasher { return &Hasher{algo: algo, running: algo.New()} }

// Write implements io.Writer. It never fails.
func (h *Hasher) Write(p []byte) (int, error) {
	h.size += uint64(len(p))
	return h.running.Write(p)
}

// Hash returns the hash of the bytes written so far.
func (h *Hasher) Hash() nixhash.Hash { return nixhash.FromHash(h.algo, h.running) }

// Size returns the number of bytes written so far.
func (h *Hasher) Size() uint64 { return h.size }

// ContentHashes are the hashes of an object in which NUL bytes replace its own hash part. Nix
// has two forms of this hash (HashModuloSink in src/libstore/references.cc). They are equal if
// the object does not contain its own path.
type ContentHashes struct {
	// Plain is the form of Nix 2.17 to 2.34. It does not distinguish an object that contains
	// its own path from one that contains NUL bytes in the same place.
	Plain nixhash.Hash

	// WithOffsets is the form of Nix up to 2.16 and from 2.35 on: after the contents, it
	// hashes "|" and the offset of each mention. It is the zero Hash if there are more than
	// about 2 million mentions, because their offsets are not kept.
	WithOffsets nixhash.Hash

	Mentions uint64 // number of times that the object contains its own hash part
	Size     uint64 // in bytes
}

// A ModuloHasher computes the hash with which Nix addresses the contents of an object that
// contains its own path. Because the path depends on the hash, the hash must not depend on the
// path: NUL bytes are hashed instead of the object's own hash part.
type ModuloHasher struct {
	hasher   *Hasher
	rewriter *Rewriter

	mentions uint64
	offsets  []byte // distance of each mention from the previous one, as varints
	last     uint64 // offset of the last mention
}

// maxOffsets limits the memory for offsets in bytes, because an untrusted archive can consist
// of nothing but mentions. A mention takes one or two bytes.
const maxOffsets = 4 << 20

// NewModuloHasher returns a ModuloHasher with the given algorithm, which must be valid, for an
// object with the given hash part. It returns an error if hashPart is not a hash part.
func NewModuloHasher(algo nixhash.Algorithm, hashPart string) (*ModuloHasher, error) {
	h := &ModuloHasher{hasher: NewHasher(algo)}
	var err error
	h.rewriter, err = NewRewriter(h.hasher, map[string]string{hashPart: strings.Repeat("\x00", hashLen)})
	if err != nil {
		return nil, err
	}
	h.rewriter.onMatch = h.mention
	return h, nil
}

// mention records a mention.
func (h *ModuloHasher) mention(offset uint64) {
	h.mentions++
	if len(h.offsets) <= maxOffsets {
		h.offsets = binary.AppendUvarint(h.offsets, offset-h.last)
		h.last = offset
	}
}

// Write implements io.Writer. It never fails.
func (h *ModuloHasher) Write(p []byte) (int, error) { return h.rewriter.Write(p) }

// Finish returns the hashes. It must be called once, after the whole archive was written.
func (h *ModuloHasher) Finish() ContentHashes {
	h.rewriter.Close() // cannot fail, because a Hasher never does
	hashes := ContentHashes{Plain: h.hasher.Hash(), Size: h.hasher.Size(), Mentions: h.mentions}
	if h.mentions == 0 {
		hashes.WithOffsets = hashes.Plain
	} else if len(h.offsets) <= maxOffsets {
		h.writeOffsets()
		hashes.WithOffsets = h.hasher.Hash()
	}
	return hashes
}

func (h *ModuloHasher) writeOffsets() {
	var text []byte
	offset := uint64(0)
	for rest := h.offsets; len(rest) > 0; {
		distance, n := binary.Uvarint(rest)
		offset, rest = offset+distance, rest[n:]
		text = strconv.AppendUint(append(text[:0], '|'), offset, 10)
		h.hasher.Write(text)
	}
}
