package nar

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// A nameList holds the names in a directory. A directory may have millions, so they
// lie close together, in pieces that are never moved, and each is known by its place.
type nameList struct {
	pieces []*namePiece
	used   int // bytes of the last piece
	places []namePlace
}

// A namePiece holds names, one after the other: a byte for the kind (0 for what an
// archive cannot hold), two for the length of the name in the archive, two for that
// in the file system, and the latter. The former is its beginning; the case hack is
// the only reason for the two to differ.
type namePiece [1 << 16]byte

// A namePlace is the number of a piece, times the size of one, plus an offset in it.
type namePlace uint32

const nameHeader = 1 + 2 + 2

func (l *nameList) reset() {
	// The first piece is enough for most directories, and used again.
	clear(l.pieces[min(1, len(l.pieces)):])
	l.pieces = l.pieces[:min(1, len(l.pieces))]
	l.used, l.places = 0, l.places[:0]
}

// add adds a name as the file system has it.
func (l *nameList) add(name []byte, kind Kind) error {
	const longest, mostPieces = 1 << 15, 1 << 16
	if len(name) > longest || len(l.pieces) == mostPieces {
		return errors.New("its names are too long, or too many")
	}
	need := nameHeader + len(name)
	if len(l.pieces) == 0 || len(l.pieces[0])-l.used < need {
		l.pieces, l.used = append(l.pieces, new(namePiece)), 0
	}
	last := len(l.pieces) - 1
	l.places = append(l.places, namePlace(last*len(namePiece{})+l.used))
	at := l.pieces[last][l.used:]
	at[0] = byte(kind)
	binary.NativeEndian.PutUint16(at[1:], uint16(len(name)))
	binary.NativeEndian.PutUint16(at[3:], uint16(len(name)))
	l.used += nameHeader + copy(at[nameHeader:], name)
	return nil
}

// at returns the bytes at a place and after it.
func (l *nameList) at(p namePlace) []byte {
	const size = namePlace(len(namePiece{}))
	return l.pieces[p/size][p%size:]
}

func (l *nameList) kind(p namePlace) Kind { return Kind(l.at(p)[0]) }

// name returns the name in the archive.
func (l *nameList) name(p namePlace) []byte {
	b := l.at(p)
	return b[nameHeader : nameHeader+int(binary.NativeEndian.Uint16(b[1:]))]
}

// fileName returns the name in the file system.
func (l *nameList) fileName(p namePlace) string {
	b := l.at(p)
	return string(b[nameHeader : nameHeader+int(binary.NativeEndian.Uint16(b[3:]))])
}

// undoCaseHack makes the names in the archive end before the first marker.
func (l *nameList) undoCaseHack() {
	for _, p := range l.places {
		if n := bytes.Index(l.name(p), []byte(caseHackSuffix)); n >= 0 {
			binary.NativeEndian.PutUint16(l.at(p)[1:], uint16(n))
		}
	}
}

// sort sorts by the names in the archive. Two that are equal are an error, as is one
// that an archive cannot hold.
func (l *nameList) sort() error {
	slices.SortFunc(l.places, func(a, b namePlace) int { return bytes.Compare(l.name(a), l.name(b)) })
	for i, p := range l.places {
		if reason := badName(string(l.name(p))); reason != "" {
			return fmt.Errorf("the name %q %s", shorten(l.fileName(p)), reason)
		}
		if i > 0 && bytes.Equal(l.name(p), l.name(l.places[i-1])) {
			return fmt.Errorf("%q and %q have the same name in an archive", l.fileName(l.places[i-1]), l.fileName(p))
		}
	}
	return nil
}
