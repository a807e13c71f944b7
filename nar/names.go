package nar

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
)

// A nameList holds the names in a directory. A directory may have millions, so the names are
// packed into pieces that are never moved, and identified by their position.
type nameList struct {
	pieces    []*namePiece
	used      int // bytes of the last piece
	positions []namePos
}

// A namePiece holds names. Each is encoded as a byte for the kind (0 for a file that no
// archive can contain), two bytes for the length of its name in the archive, two bytes for the
// length of its name in the file system, and the latter. The name in the archive is a prefix
// of it; only the case hack makes the two differ.
type namePiece [1 << 16]byte

// A namePos is the index of a piece times the size of a piece, plus an offset in the piece.
type namePos uint32

const nameHeader = 1 + 2 + 2

func (l *nameList) reset() {
	// The first piece is enough for most directories, so keep it.
	clear(l.pieces[min(1, len(l.pieces)):])
	l.pieces = l.pieces[:min(1, len(l.pieces))]
	l.used, l.positions = 0, l.positions[:0]
}

// add adds a name in the file system.
func (l *nameList) add(name []byte, kind Kind) error {
	const maxLen, maxPieces = 1 << 15, 1 << 16
	if len(name) > maxLen || len(l.pieces) == maxPieces {
		return errors.New("its names are too long, or too many")
	}
	need := nameHeader + len(name)
	if len(l.pieces) == 0 || len(l.pieces[0])-l.used < need {
		l.pieces, l.used = append(l.pieces, new(namePiece)), 0
	}
	last := len(l.pieces) - 1
	l.positions = append(l.positions, namePos(last*len(namePiece{})+l.used))
	at := l.pieces[last][l.used:]
	at[0] = byte(kind)
	binary.NativeEndian.PutUint16(at[1:], uint16(len(name)))
	binary.NativeEndian.PutUint16(at[3:], uint16(len(name)))
	l.used += nameHeader + copy(at[nameHeader:], name)
	return nil
}

// at returns the bytes from position p to the end of its piece.
func (l *nameList) at(p namePos) []byte {
	const size = namePos(len(namePiece{}))
	return l.pieces[p/size][p%size:]
}

func (l *nameList) kind(p namePos) Kind { return Kind(l.at(p)[0]) }

// name returns the name in the archive.
func (l *nameList) name(p namePos) []byte {
	b := l.at(p)
	return b[nameHeader : nameHeader+int(binary.NativeEndian.Uint16(b[1:]))]
}

// fileName returns the name in the file system.
func (l *nameList) fileName(p namePos) string {
	b := l.at(p)
	return string(b[nameHeader : nameHeader+int(binary.NativeEndian.Uint16(b[3:]))])
}

// undoCaseHack truncates the names in the archive before the first case hack suffix.
func (l *nameList) undoCaseHack() {
	for _, p := range l.positions {
		if n := bytes.Index(l.name(p), []byte(caseHackSuffix)); n >= 0 {
			binary.NativeEndian.PutUint16(l.at(p)[1:], uint16(n))
		}
	}
}

// sort sorts the names by their bytes in the archive. It fails if two of them are equal, or
// if an archive cannot contain one.
func (l *nameList) sort() error {
	slices.SortFunc(l.positions, func(a, b namePos) int { return bytes.Compare(l.name(a), l.name(b)) })
	for i, p := range l.positions {
		if reason := checkName(string(l.name(p))); reason != "" {
			return fmt.Errorf("the name %q %s", shorten(l.fileName(p)), reason)
		}
		if i > 0 && bytes.Equal(l.name(p), l.name(l.positions[i-1])) {
			return fmt.Errorf("%q and %q have the same name in an archive", l.fileName(l.positions[i-1]), l.fileName(p))
		}
	}
	return nil
}

// caseHackSuffix is what Nix appends to a name, followed by a number, if a file system
// that ignores case already has the name.
const caseHackSuffix = "~nix~case~hack~"

// A caseHack makes the names in one directory differ by more than case.
type caseHack struct {
	seen map[string]int // names in lower case: how many variants exist
}

// name returns the name of the next entry of the directory in the file system.
func (h *caseHack) name(name string) (string, error) {
	folded := foldASCII(name)
	times, ok := h.seen[folded]
	if !ok {
		if h.seen == nil {
			h.seen = map[string]int{}
		}
		h.seen[folded] = 0
		return name, nil
	}
	times++
	h.seen[folded] = times
	hacked := name + caseHackSuffix + strconv.Itoa(times)
	if _, ok := h.seen[foldASCII(hacked)]; ok {
		return "", fmt.Errorf("%q differs from another name only in case, and %q exists too", name, hacked)
	}
	return hacked, nil
}

// foldASCII returns s with A-Z in lower case. Like strcasecmp, which Nix uses, it changes
// no other byte.
func foldASCII(s string) string {
	folded := []byte(s)
	for i, c := range folded {
		if 'A' <= c && c <= 'Z' {
			folded[i] = c + 'a' - 'A'
		}
	}
	return string(folded)
}
