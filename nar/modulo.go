package nar

import (
	"encoding/binary"
	"strconv"
	"strings"

	"pix/nixhash"
)

// ContentHashes are the hashes of an object with its own hash part replaced by NUL bytes, in the two
// forms that Nix has (HashModuloSink in src/libstore/references.cc). They are equal if the object
// does not mention its own path.
type ContentHashes struct {
	// Plain is the form of Nix 2.17 to 2.34. An object that mentions its own path has the same
	// hash as another one that has NUL bytes in place of some mentions.
	Plain nixhash.Hash

	// WithOffsets is the form of Nix up to 2.16 and from 2.35 on: "|" and the offset of each
	// mention are hashed after the contents. It is the zero Hash if there are more than some 2
	// million mentions, since their offsets are not kept.
	WithOffsets nixhash.Hash

	Mentions uint64 // how often the object mentions its own hash part
	Size     uint64 // in bytes
}

// A ModuloHasher computes the hash by which Nix addresses the contents of an object that mentions
// its own path. The path depends on the hash, so the hash cannot depend on the path: NUL bytes are
// hashed in place of the object's own hash part.
type ModuloHasher struct {
	hasher   *Hasher
	rewriter *Rewriter

	mentions uint64
	offsets  []byte // the distance of each mention from the previous one, as varints
	last     uint64 // the offset of the last mention
}

// maxOffsets is how many bytes of offsets a ModuloHasher keeps, because an untrusted archive can
// consist of mentions. A mention takes one or two bytes.
const maxOffsets = 4 << 20

// NewModuloHasher returns a ModuloHasher of that algorithm, which must be valid, and
// that hash part.
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

// mention remembers a mention.
func (h *ModuloHasher) mention(offset uint64) {
	h.mentions++
	if len(h.offsets) <= maxOffsets {
		h.offsets = binary.AppendUvarint(h.offsets, offset-h.last)
		h.last = offset
	}
}

// Write implements io.Writer. It never fails.
func (h *ModuloHasher) Write(p []byte) (int, error) { return h.rewriter.Write(p) }

// Finish returns the hashes. The whole archive must have been written. It must be called once.
func (h *ModuloHasher) Finish() ContentHashes {
	h.rewriter.Close() // cannot fail: a Hasher takes everything
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
