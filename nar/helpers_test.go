package nar_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"pix/nar"
	"pix/wire"
)

// archive encodes strings and numbers as the bytes of an archive.
func archive(parts ...any) []byte {
	var b []byte
	for _, p := range parts {
		switch p := p.(type) {
		case string:
			b = wire.AppendString(b, p)
		case int:
			b = wire.AppendUint64(b, uint64(p))
		case uint64:
			b = wire.AppendUint64(b, p)
		case []any:
			b = append(b, archive(p...)...)
		default:
			panic(fmt.Sprintf("%T", p))
		}
	}
	return b
}

// in returns the entry that contains node in a directory.
func in(name string, node ...any) []any {
	return []any{"entry", "(", "name", name, "node", node, ")"}
}

// dir returns a directory with the given entries.
func dir(entries ...[]any) []any {
	parts := []any{"(", "type", "directory"}
	for _, e := range entries {
		parts = append(parts, e)
	}
	return append(parts, ")")
}

func file(contents string) []any { return []any{"(", "type", "regular", "contents", contents, ")"} }
func program(contents string) []any {
	return []any{"(", "type", "regular", "executable", "", "contents", contents, ")"}
}
func link(target string) []any { return []any{"(", "type", "symlink", "target", target, ")"} }

// sample is an archive with a node of every kind.
var sample = archive(nar.Magic, dir(
	in("bin", dir(
		in("hello", program("#!/bin/sh\necho hello\n")...),
		in("hello2", link("hello")...),
		in("\xff\xfe", file("a name that isn't UTF-8")...),
	)...),
	in("bin.txt", file(strings.Repeat("x", 1000))...),
	in("empty", file("")...),
	in("none", dir()...),
	in("with\nnewline", file("12345678")...),
))

// depth returns an archive with a file below the given number of directories.
func depth(directories int) []byte {
	node := file("deep")
	for range directories {
		node = dir(in("d", node...))
	}
	return archive(nar.Magic, node)
}

// readAll reads an archive and the contents of its files to the end.
func readAll(src io.Reader) error {
	r := nar.NewReader(src)
	for e, err := range r.All() {
		if err != nil {
			return err
		}
		n, err := io.Copy(io.Discard, r)
		if err != nil {
			return err
		}
		if uint64(n) != e.Size {
			return fmt.Errorf("%q has %d bytes instead of %d", r.Path(), n, e.Size)
		}
	}
	return nil
}

// skim reads all entries of an archive without contents.
func skim(src io.Reader) error {
	for _, err := range nar.NewReader(src).All() {
		if err != nil {
			return err
		}
	}
	return nil
}

// listByWriting lists an archive with a Lister, in pieces of the given size.
func listByWriting(b []byte, size int) (*nar.Listing, error) {
	l := nar.NewLister()
	for piece := range slices.Chunk(b, size) {
		if _, err := l.Write(piece); err != nil {
			return nil, err
		}
	}
	return l.Listing()
}

// parse is a second parser, written as simply as possible. It returns the length of the
// archive at the start of b, and whether it is valid.
func parse(b []byte) (n int, ok bool) {
	p := &naive{b: b}
	defer func() {
		if r := recover(); r != nil && r != "bad" {
			panic(r)
		} else if r != nil {
			n, ok = 0, false
		}
	}()
	p.expect(nar.Magic)
	p.node(0)
	return p.at, true
}

type naive struct {
	b  []byte
	at int
}

func (p *naive) must(ok bool) {
	if !ok {
		panic("bad")
	}
}

func (p *naive) number() uint64 {
	p.must(len(p.b)-p.at >= 8)
	p.at += 8
	return binary.LittleEndian.Uint64(p.b[p.at-8:])
}

func (p *naive) string(limit uint64) string {
	n := p.number()
	p.must(n <= limit && n <= uint64(len(p.b)-p.at))
	s := string(p.b[p.at : p.at+int(n)])
	for p.at += int(n); p.at%8 != 0; p.at++ {
		p.must(p.at < len(p.b) && p.b[p.at] == 0)
	}
	return s
}

func (p *naive) expect(want string) { p.must(p.string(32) == want) }

func (p *naive) node(depth int) {
	p.must(depth < 64)
	p.expect("(")
	p.expect("type")
	switch p.string(32) {
	case "regular":
		tag := p.string(32)
		if tag == "executable" {
			p.expect("")
			tag = p.string(32)
		}
		p.must(tag == "contents")
		p.string(1 << 62)
	case "symlink":
		p.expect("target")
		target := p.string(4095)
		p.must(target != "" && !strings.Contains(target, "\x00"))
	case "directory":
		for last := ""; ; {
			tag := p.string(32)
			if tag == ")" {
				return
			}
			p.must(tag == "entry")
			p.expect("(")
			p.expect("name")
			name := p.string(255)
			p.must(name > last && name != "." && name != ".." && !strings.ContainsAny(name, "/\x00"))
			last = name
			p.expect("node")
			p.node(depth + 1)
			p.expect(")")
		}
	default:
		panic("bad")
	}
	p.expect(")")
}

// sameError reports whether two errors have the same text.
func sameError(a, b error) bool { return fmt.Sprint(a) == fmt.Sprint(b) }

// checkError checks that err is an *Error at that offset, unless that is negative, with reason
// in its text.
func checkError(t *testing.T, what string, err error, offset int64, reason string) {
	t.Helper()
	var bad *nar.Error
	if !errors.As(err, &bad) {
		t.Errorf("%s: %v, want a *nar.Error", what, err)
	} else if offset >= 0 && bad.Offset != offset || !strings.Contains(err.Error(), reason) {
		t.Errorf("%s: %v, want offset %d and %q", what, err, offset, reason)
	}
}

func equal(t *testing.T, what string, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		t.Errorf("%s: %d bytes differ from the %d that are expected:\n%.600q\n%.600q", what, len(got), len(want), got, want)
	}
}
