package nar

import (
	"bytes"
	"fmt"
	"slices"
)

// A nameList holds the names in a directory. A directory may have millions, so they
// share one piece of memory.
type nameList struct {
	bytes []byte
	items []nameItem
}

// A nameItem is one name: bytes[start:start+long] in the file system, of which the
// first short bytes are the name in the archive. They differ by the case hack alone.
type nameItem struct {
	start       uint32
	short, long uint16
	kind        Kind // 0 for what an archive cannot hold
}

func (l *nameList) reset() { l.bytes, l.items = l.bytes[:0], l.items[:0] }

// add adds a name as the file system has it.
func (l *nameList) add(name []byte, kind Kind) error {
	const longest, most = 1 << 15, 1 << 31
	if len(name) > longest || len(l.bytes) > most {
		return fmt.Errorf("the names in the directory are too long")
	}
	n := uint16(len(name))
	l.items = append(l.items, nameItem{start: uint32(len(l.bytes)), short: n, long: n, kind: kind})
	l.bytes = append(l.bytes, name...)
	return nil
}

// name returns the name in the archive.
func (l *nameList) name(it nameItem) []byte {
	return l.bytes[it.start : it.start+uint32(it.short)]
}

// fileName returns the name in the file system.
func (l *nameList) fileName(it nameItem) string {
	return string(l.bytes[it.start : it.start+uint32(it.long)])
}

// undoCaseHack makes the names in the archive end before the first marker.
func (l *nameList) undoCaseHack() {
	for i, it := range l.items {
		if at := bytes.Index(l.name(it), []byte(caseHackSuffix)); at >= 0 {
			l.items[i].short = uint16(at)
		}
	}
}

// sort sorts by the names in the archive. Two that are equal are an error, as is one
// that an archive cannot hold.
func (l *nameList) sort() error {
	slices.SortFunc(l.items, func(a, b nameItem) int { return bytes.Compare(l.name(a), l.name(b)) })
	for i, it := range l.items {
		if reason := badName(string(l.name(it))); reason != "" {
			return fmt.Errorf("the name %q %s", shorten(l.fileName(it)), reason)
		}
		if i > 0 && bytes.Equal(l.name(it), l.name(l.items[i-1])) {
			return fmt.Errorf("%q and %q have the same name in an archive", l.fileName(l.items[i-1]), l.fileName(it))
		}
	}
	return nil
}
