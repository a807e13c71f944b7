package nar

import (
	"bytes"
	"encoding/binary"
	"hash"
	"io"
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
	hasher *Hasher
	text   *moduloWriter
}

// NewModuloHasher returns a ModuloHasher with the given algorithm, which must be valid, for an
// object with the given hash part. It returns an error if hashPart is not a hash part.
func NewModuloHasher(algo nixhash.Algorithm, hashPart string) (*ModuloHasher, error) {
	h := &ModuloHasher{hasher: NewHasher(algo)}
	var err error
	h.text, err = newModuloWriter(h.hasher, hashPart)
	if err != nil {
		return nil, err
	}
	return h, nil
}

// Write implements io.Writer. It never fails.
func (h *ModuloHasher) Write(p []byte) (int, error) { return h.text.rewriter.Write(p) }

// Finish returns the hashes. It must be called once, after the whole archive was written.
func (h *ModuloHasher) Finish() ContentHashes {
	h.text.rewriter.Close() // cannot fail, because a Hasher never does
	hashes := ContentHashes{Plain: h.hasher.Hash(), Size: h.hasher.Size(), Mentions: h.text.mentions}
	if h.text.writeOffsets() {
		hashes.WithOffsets = h.hasher.Hash()
	}
	return hashes
}

// ModuloTexts returns the texts that a [ModuloHasher] hashes for an archive in memory: plain for
// ContentHashes.Plain, and withOffsets for ContentHashes.WithOffsets, or nil where that is the zero
// Hash. The texts share memory. It returns an error if hashPart is not a hash part.
func ModuloTexts(archive []byte, hashPart string) (plain, withOffsets []byte, err error) {
	var b bytes.Buffer
	w, err := newModuloWriter(&b, hashPart)
	if err != nil {
		return nil, nil, err
	}
	w.rewriter.Write(archive) // cannot fail, because a Buffer never does
	w.rewriter.Close()
	complete := w.writeOffsets()
	plain = b.Bytes()[:len(archive):len(archive)]
	if !complete {
		return plain, nil, nil
	}
	return plain, b.Bytes(), nil
}

// A moduloWriter writes the text that a [ModuloHasher] hashes. Its dst must never fail.
type moduloWriter struct {
	dst      io.Writer
	rewriter *Rewriter // writes to dst

	mentions uint64
	offsets  []byte // distance of each mention from the previous one, as varints
	last     uint64 // offset of the last mention
}

// maxOffsets limits the memory for offsets in bytes, because an untrusted archive can consist
// of nothing but mentions. A mention takes one or two bytes.
const maxOffsets = 4 << 20

func newModuloWriter(dst io.Writer, hashPart string) (*moduloWriter, error) {
	w := &moduloWriter{dst: dst}
	var err error
	w.rewriter, err = NewRewriter(dst, map[string]string{hashPart: strings.Repeat("\x00", hashLen)})
	if err != nil {
		return nil, err
	}
	w.rewriter.onMatch = w.mention
	return w, nil
}

// mention records a mention.
func (w *moduloWriter) mention(offset uint64) {
	w.mentions++
	if len(w.offsets) <= maxOffsets {
		w.offsets = binary.AppendUvarint(w.offsets, offset-w.last)
		w.last = offset
	}
}

// writeOffsets writes "|" and the offset of each mention. It writes nothing and returns false if
// not all offsets were kept.
func (w *moduloWriter) writeOffsets() bool {
	if len(w.offsets) > maxOffsets {
		return false
	}
	var text []byte
	offset := uint64(0)
	for rest := w.offsets; len(rest) > 0; {
		distance, n := binary.Uvarint(rest)
		offset, rest = offset+distance, rest[n:]
		text = strconv.AppendUint(append(text[:0], '|'), offset, 10)
		w.dst.Write(text)
	}
	return true
}
