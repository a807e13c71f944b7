package main

import (
	"bufio"
	"fmt"
	"path"
	"strings"
	"unicode"

	"pix/nar"
)

// A nodeLister prints the nodes of an archive that ls lists. node is called for the node at the path that the user
// gave, with the path "", and then for the nodes in it, with paths relative to it.
type nodeLister interface {
	node(e nar.Entry, path string) error
	end() error
	abandon() error // after an error in the archive
}

func (a *app) newLister(finder *nar.Finder, o lsOptions) nodeLister {
	out := bufio.NewWriterSize(a.stdout, 64<<10)
	if o.json {
		return &jsonLister{out: out, top: finder.Depth(), recursive: o.recursive}
	}
	l := &textLister{out: out, options: o, visible: isTerminal(a.stdout)}
	if finder.Depth() > 0 {
		l.name = path.Base(finder.Path())
	}
	return l
}

// list reads the archive to its end, and passes the node of the finder and the nodes in it to the lister, down to
// a number of levels.
func (ar *archiveInput) list(finder *nar.Finder, list nodeLister, levels int) error {
	prefix := len(finder.Path())
	for e, err := range ar.All() {
		if err != nil {
			return err
		}
		switch finder.Match(e) {
		case nar.IsNode:
			err = list.node(e, "")
		case nar.IsInside:
			if e.Depth <= finder.Depth()+levels {
				err = list.node(e, strings.TrimPrefix(ar.Path()[prefix:], "/"))
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// listNode passes a node of a listing and the nodes in it to the lister, down to a number of levels. relative is the path of
// the node relative to the node that the user gave, and depth its depth in the archive.
func listNode(list nodeLister, l *nar.Listing, relative string, depth, levels int) error {
	e := nar.Entry{Name: l.Name, Depth: depth, Kind: l.Kind, Executable: l.Executable, Size: l.Size, Offset: l.Offset, Target: l.Target}
	if err := list.node(e, relative); err != nil {
		return err
	}
	for i := 0; i < len(l.Entries) && levels > 0; i++ {
		entry := &l.Entries[i]
		if err := listNode(list, entry, path.Join(relative, entry.Name), depth+1, levels-1); err != nil {
			return err
		}
	}
	return nil
}

// A textLister prints a line for each node, as Nix does.
type textLister struct {
	out     *bufio.Writer
	options lsOptions
	name    string // of the node at the path that the user gave
	visible bool   // replace control characters with ?
}

func (l *textLister) node(e nar.Entry, path string) error {
	switch {
	case path != "":
		path = "./" + path
	case e.Kind != nar.Directory:
		path = l.name
	case l.options.directory:
		path = "."
	default:
		return nil
	}
	if l.options.long {
		if _, err := fmt.Fprintf(l.out, "%s %20d ", modeText(e), e.Size); err != nil {
			return err
		}
		if e.Kind == nar.Symlink {
			path += " -> " + e.Target
		}
	}
	if l.visible {
		path = strings.Map(func(r rune) rune {
			if unicode.IsControl(r) {
				return '?'
			}
			return r
		}, path)
	}
	_, err := l.out.WriteString(path + "\n")
	return err
}

func (l *textLister) end() error { return l.out.Flush() }

// abandon prints the lines of the nodes before the error, which are still useful.
func (l *textLister) abandon() error { return l.out.Flush() }

// modeText returns the mode that a node has in a store, as ls -l prints it.
func modeText(e nar.Entry) string {
	switch {
	case e.Kind == nar.Directory:
		return "dr-xr-xr-x"
	case e.Kind == nar.Symlink:
		return "lrwxrwxrwx"
	case e.Executable:
		return "-r-xr-xr-x"
	}
	return "-r--r--r--"
}

// A jsonLister prints the JSON of [nar.Listing.MarshalJSON] while the archive is read, because the listing of a large
// archive would take too much memory.
type jsonLister struct {
	out       *bufio.Writer
	top       int // the depth of the node at the path that the user gave
	recursive bool

	open  int  // the number of unfinished directories
	comma bool // whether a comma comes before the next entry
}

func (l *jsonLister) node(e nar.Entry, path string) error {
	l.closeTo(e.Depth - l.top)
	if path != "" {
		name, err := jsonString(e.Name)
		if err != nil {
			return err
		}
		if l.comma {
			l.out.WriteByte(',')
		}
		l.out.WriteString(name + ":")
	}
	l.comma = true
	if path != "" && !l.recursive {
		_, err := l.out.WriteString("{}")
		return err
	}
	if e.Kind == nar.Directory {
		l.open++
		l.comma = false
		_, err := l.out.WriteString(`{"entries":{`)
		return err
	}
	leaf := nar.Listing{Kind: e.Kind, Executable: e.Executable, Size: e.Size, Offset: e.Offset, Target: e.Target}
	text, err := leaf.MarshalJSON()
	if err != nil {
		return err
	}
	_, err = l.out.Write(text)
	return err
}

// closeTo ends unfinished directories until n remain.
func (l *jsonLister) closeTo(n int) {
	for ; l.open > n; l.open-- {
		l.out.WriteString(`},"type":"directory"}`)
		l.comma = true
	}
}

// jsonString returns a string as JSON in Nix's spelling, which escapes fewer characters than Go does. Only package nar
// knows that spelling, so it takes the string out of the JSON of a symlink.
func jsonString(s string) (string, error) {
	const before, after = `{"target":`, `,"type":"symlink"}`
	link := nar.Listing{Kind: nar.Symlink, Target: s}
	text, err := link.MarshalJSON()
	if err != nil {
		return "", err
	}
	return string(text[len(before) : len(text)-len(after)]), nil
}

func (l *jsonLister) end() error {
	l.closeTo(0)
	l.out.WriteByte('\n')
	return l.out.Flush()
}

// abandon drops the buffer: half of a JSON text is useless.
func (l *jsonLister) abandon() error { return nil }
