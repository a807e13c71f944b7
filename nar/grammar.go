package nar

import (
	"fmt"
	"strings"
)

// A grammar is the state machine of the format. Its drivers, [Reader] and [Lister], take one
// string after the other from the stream, none longer than [grammar.limit], and pass it to
// [grammar.take]. In state wantSize the stream has a number instead, for [grammar.takeSize].
// The contents and their padding follow, and then the driver calls [grammar.endContents].
type grammar struct {
	state state
	entry Entry // the current node, or the last one

	// depth is the depth of the current node. names[:depth] is its path, and names[depth] is the
	// last name in the current directory, which the next name must follow. Most
	// archives of a store are single files, which need no names.
	depth int
	names []string
}

// A state says what the grammar expects next.
type state uint8

const (
	wantMagic     state = iota
	wantNode            // ( at the start of a node
	wantType            // type
	wantKind            // regular, directory or symlink
	wantContents        // executable or contents
	wantEmpty           // the value of the executable marker, an empty string
	wantContents2       // contents, after the marker
	wantSize            // the length of the contents, as a number
	inContents          // the contents and their padding
	wantTargetTag       // target
	wantTarget          // the target
	wantNodeEnd         // ) after a file or a symlink
	wantEntry           // entry or ), in a directory
	wantEntryOpen       // ( after entry
	wantNameTag         // name
	wantName            // the name
	wantNodeTag         // node
	wantEntryEnd        // ) after the node of an entry
	atEnd
)

// fixed holds the states that allow only one string, and the states that follow them.
var fixed = [...]struct {
	tag  string
	next state
}{
	wantMagic:     {Magic, wantNode},
	wantNode:      {"(", wantType},
	wantType:      {"type", wantKind},
	wantContents2: {"contents", wantSize},
	wantTargetTag: {"target", wantTarget},
	wantEntryOpen: {"(", wantNameTag},
	wantNameTag:   {"name", wantName},
	wantNodeTag:   {"node", wantNode},
	wantEntryEnd:  {")", wantEntry},
	atEnd:         {}, // extends the table to all states
}

// limit returns the length limit of the next string in bytes.
func (g *grammar) limit() int {
	switch g.state {
	case wantMagic:
		return len(Magic)
	case wantName:
		return MaxNameLen
	case wantTarget:
		return MaxTargetLen
	}
	return maxTagLen
}

// An event is the result of taking a string.
type event uint8

const (
	nothing   event = iota
	haveEntry       // g.entry is complete
	haveEnd         // the archive is complete
)

// take takes the next string. If it is not valid here, reason says why.
func (g *grammar) take(s []byte) (ev event, reason string) {
	if f := &fixed[g.state]; f.tag != "" {
		if string(s) != f.tag {
			return nothing, g.unexpected(s, "'"+f.tag+"'")
		}
		g.state = f.next
		return nothing, ""
	}
	switch g.state {
	case wantKind:
		return g.takeKind(s)
	case wantContents:
		return nothing, g.takeContents(s)
	case wantEmpty:
		if len(s) > 0 {
			return nothing, fmt.Sprintf("the executable marker has the value %q, but must be empty", s)
		}
		g.state = wantContents2
		return nothing, ""
	case wantTarget:
		g.entry.Target, g.state = string(s), wantNodeEnd
		if reason := checkTarget(g.entry.Target); reason != "" {
			return nothing, "the target of a symlink " + reason
		}
		return haveEntry, ""
	case wantNodeEnd:
		if string(s) != ")" {
			return nothing, g.unexpected(s, "')'")
		}
		return g.closeNode(), ""
	case wantEntry:
		return g.takeEntry(s)
	case wantName:
		return nothing, g.takeName(s)
	}
	panic("nar: the state does not take a string")
}

// notAnArchive is the reason for a stream that does not begin with [Magic].
const notAnArchive = "this is not a Nix archive: it does not begin with '" + Magic + "'"

func (g *grammar) unexpected(s []byte, wanted string) (reason string) {
	if g.state == wantMagic {
		return notAnArchive
	}
	return fmt.Sprintf("expected %s, got %q", wanted, s)
}

func (g *grammar) takeKind(s []byte) (event, string) {
	g.entry = Entry{Depth: g.depth}
	if g.depth > 0 {
		g.entry.Name = g.names[g.depth-1]
	}
	switch string(s) {
	case "regular":
		g.entry.Kind, g.state = Regular, wantContents
		return nothing, ""
	case "symlink":
		g.entry.Kind, g.state = Symlink, wantTargetTag
		return nothing, ""
	case "directory":
		g.entry.Kind, g.state = Directory, wantEntry
		g.names = append(g.names[:g.depth], "")
		return haveEntry, ""
	}
	return nothing, g.unexpected(s, "'regular', 'directory' or 'symlink'")
}

func (g *grammar) takeContents(s []byte) (reason string) {
	switch string(s) {
	case "contents":
		g.state = wantSize
	case "executable":
		g.entry.Executable, g.state = true, wantEmpty
	default:
		return g.unexpected(s, "'contents' or 'executable'")
	}
	return ""
}

// takeSize takes the length of a file's contents, which begin at that offset. The entry is
// then complete. It accepts any length, because the archive ends before an absurd one is
// used up.
func (g *grammar) takeSize(n uint64, offset int64) {
	g.entry.Size, g.entry.Offset, g.state = n, offset, inContents
}

// endContents marks the contents of a file and their padding as complete.
func (g *grammar) endContents() { g.state = wantNodeEnd }

// takeEntry takes the start of another entry in a directory, or the end of the directory.
func (g *grammar) takeEntry(s []byte) (event, string) {
	switch string(s) {
	case "entry":
		g.state = wantEntryOpen
		return nothing, ""
	case ")":
		return g.closeNode(), ""
	}
	return nothing, g.unexpected(s, "'entry' or ')'")
}

func (g *grammar) takeName(s []byte) (reason string) {
	if g.depth+1 >= MaxDepth {
		return fmt.Sprintf("directories are nested more than %d deep", MaxDepth)
	}
	name, last := string(s), g.names[g.depth]
	if reason := checkName(name); reason != "" {
		return fmt.Sprintf("the name %q %s", name, reason)
	}
	if name == last {
		return fmt.Sprintf("the name %q occurs twice in a directory", name)
	}
	if name < last {
		return fmt.Sprintf("the name %q comes after %q: a directory is not sorted", name, last)
	}
	g.names[g.depth], g.state = name, wantNodeTag
	g.depth++
	return ""
}

// closeNode ends the current node.
func (g *grammar) closeNode() event {
	if g.depth == 0 {
		g.state = atEnd
		return haveEnd
	}
	g.depth--
	g.state = wantEntryEnd
	return nothing
}

// path returns the path of the current node, separated by slashes, or "" for the root. After
// an entry is complete, it is the entry's path until the next string is taken.
func (g *grammar) path() string {
	return strings.Join(g.names[:g.depth], "/")
}
